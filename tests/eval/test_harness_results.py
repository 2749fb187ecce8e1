"""results.json reads as a file of lm-evaluation-harness 0.4.13 does, as its own table maker walks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import sem

from eval import harness_results
from tests.eval.test_pages import record, write_run


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """A report and its results.json."""
    out = tmp_path_factory.mktemp("harness") / "run"
    report = write_run(out, [record(k, "right", ("right", "wrong")[k % 2]) for k in range(8)], "org/model")
    harness_results.write(out, report)
    return report, json.loads((out / harness_results.FILE).read_text(encoding="utf-8"))


def test_every_metric_has_its_value_and_standard_error_under_the_harness_keys(pair: tuple[Any, Any]) -> None:
    report, results = pair
    row = results["results"]["toy"]
    for metric, facts in report["tasks"]["toy"]["metrics"].items():
        assert row[f"{metric},none"] == facts["score"]
        assert row[f"{metric}_stderr,none"] == facts["stderr"]
    assert (row["alias"], row["sample_len"], row["sample_count"]["exact,none"]) == ("toy", 8, 8)
    assert results["n-samples"] == {"toy": {"original": 8, "effective": 8}}
    assert (results["versions"], results["n-shot"]) == ({"toy": 1}, {"toy": 0})
    assert results["higher_is_better"] == {"toy": {"faults": False, "partly": True, "exact": True}}
    assert results["model_name_sanitized"] == "org__model"


def test_its_table_maker_finds_a_row_for_every_metric(pair: tuple[Any, Any]) -> None:
    """The walk of lm_eval.utils.make_table, 0.4.13."""
    _, results = pair
    rows = []
    for task, found in results["results"].items():
        cells = {
            key: value for key, value in found.items() if key not in ("alias", "name", "sample_len", "sample_count")
        }
        for key, value in sorted(cells.items()):
            metric, _, filter_name = key.partition(",")
            if not metric.endswith("_stderr"):
                error = cells[f"{metric}_stderr,{filter_name}"]
                rows.append((task, results["versions"][task], filter_name, metric, f"{value:.4f}", f"{error:.4f}"))
    assert [row[3] for row in rows] == ["exact", "faults", "partly"]
    assert all(row[2] == "none" for row in rows)


def test_one_item_has_no_standard_error_and_says_so_as_the_harness_does(tmp_path: Path) -> None:
    report = write_run(tmp_path / "run", [record(0, "right")])
    assert harness_results.to_harness(report)["results"]["toy"]["exact_stderr,none"] == "N/A"


def test_items_of_their_own_have_the_harness_standard_error(tmp_path: Path) -> None:
    rows = [record(2 * k, ("right", "wrong", "wrong")[k % 3]) for k in range(9)]  # clusters of one
    report = write_run(tmp_path / "run", rows)
    expected = float(sem([1.0, 0.0, 0.0] * 3))  # sample deviation over sqrt(n): lm_eval.api.metrics.mean_stderr
    assert harness_results.to_harness(report)["results"]["toy"]["exact_stderr,none"] == pytest.approx(expected)
