"""python -m eval sweep RUN_DIR --tasks a,b --out DIR: every checkpoint of a run, and score against step.

DIR/checkpoint-50/, ..., DIR/final/    one evaluation each, as `eval run` writes it
DIR/sweep.json, sweep.md, sweep.png    the table, again after each checkpoint, and a plot with 95 % intervals

A killed sweep goes on: a checkpoint whose report is there and whose weights have not changed since is not evaluated
again. Training keeps `save_total_limit` checkpoints; null keeps all.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval import report as reports
from eval.protocol import EvalError
from eval.run import differences
from recipes.manifest import read_manifest

JSON_FILE, MARKDOWN_FILE, PLOT_FILE = "sweep.json", "sweep.md", "sweep.png"
FINAL = "final"
MANIFEST = "manifest.json"


class Checkpoint(NamedTuple):
    """A complete checkpoint: its name in the sweep, its folder, and the optimizer step it was saved at."""

    name: str
    folder: Path
    step: int


class Point(NamedTuple):
    """One checkpoint's scores: {task: {metric: {"n", "score", "low", "high", "unparsed"}}}."""

    checkpoint: str
    step: int
    tasks: dict[str, dict[str, dict[str, Any]]]


def checkpoints_of(run_dir: str | os.PathLike[str]) -> list[Checkpoint]:
    """checkpoint-N in order of N, then the final model; incomplete ones have no manifest. Raises EvalError for none."""
    folder = Path(run_dir)
    steps = sorted(int(match[1]) for path in folder.glob("checkpoint-*")
                   if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)))  # fmt: skip
    named = [(f"checkpoint-{step}", folder / f"checkpoint-{step}", step) for step in steps]
    found = [Checkpoint(*one) for one in named if (one[1] / MANIFEST).is_file()]
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is not None:
        found.append(Checkpoint(FINAL, folder, int(manifest.get("step", steps[-1] if steps else 0))))
    if not found:
        raise EvalError(f"{folder} holds no complete checkpoint ({MANIFEST}); give the output_dir of a training run")
    return found


def sweep(
    run_dir: str,
    out: str | os.PathLike[str],
    settings: Mapping[str, Any],
    evaluate_one: Callable[[str, Path], dict[str, Any]],
    say: Callable[[str], None] = print,
) -> list[Point]:
    """Evaluate the run's checkpoints into `out`; `evaluate_one(model, out)` makes one report.

    `settings` is what must be equal for reports to be compared. Raises EvalError where `out` holds another sweep.
    """
    target = Path(out)
    points: list[Point] = []
    claim(target, run_dir, settings)
    checkpoints = checkpoints_of(run_dir)
    for number, checkpoint in enumerate(checkpoints, 1):
        place = target / checkpoint.name
        report = finished_report(place, checkpoint.folder)
        say(f"{checkpoint.name} ({number} of {len(checkpoints)}){': evaluated already' if report else ''}")
        report = report or evaluate_one(str(checkpoint.folder), place)
        points.append(Point(checkpoint.name, checkpoint.step, scores_of(report)))
        write(target, run_dir, settings, points)
    draw(target / PLOT_FILE, points)
    return points


def claim(out: Path, run_dir: str, settings: Mapping[str, Any]) -> None:
    """Make the directory this sweep's, or find that it is. Raises EvalError where it is another's."""
    path = out / JSON_FILE
    if path.is_file():
        before = reports.read_json(path)
        wanted = json.loads(json.dumps({"run": run_dir, "settings": settings}))
        differing = differences({key: before.get(key) for key in wanted}, wanted)
        if differing:
            raise EvalError(f"{out} holds another sweep: {'; '.join(differing)}. Choose a new --out, or delete it")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EvalError(f"{out} is in use and holds no sweep ({JSON_FILE} is missing); choose a new --out")
    else:
        write(out, run_dir, settings, [])


def finished_report(place: Path, checkpoint: Path) -> dict[str, Any] | None:
    """The report of an earlier start, if it is of the weights that are there now."""
    if not (place / reports.JSON_FILE).is_file():
        return None
    report = reports.read(place)
    hashes = report["identity"]["model"].get(str(checkpoint), {})
    same = hashes and all(
        (checkpoint / name).is_file() and reports.file_sha256(checkpoint / name) == digest
        for name, digest in hashes.items()
    )
    if not same:
        raise EvalError(
            f"{place} is the report of another model than {checkpoint} holds now; delete it, or choose a new --out"
        )
    return report


def scores_of(report: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """The numbers of a report that a sweep shows."""
    kept = ("n", "score", "low", "high", "unparsed")
    return {
        task: {metric: {key: row[key] for key in kept} for metric, row in found["metrics"].items()}
        for task, found in report["tasks"].items()
    }


def write(out: Path, run_dir: str, settings: Mapping[str, Any], points: Sequence[Point]) -> None:
    """sweep.json and sweep.md, each whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    value = {"format": 1, "run": run_dir, "settings": settings, "points": [point._asdict() for point in points]}
    for name, text in ((JSON_FILE, json.dumps(value, indent=2) + "\n"), (MARKDOWN_FILE, to_markdown(run_dir, points))):
        scratch = out / f".{name}.{os.getpid()}"
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, out / name)


def series(points: Sequence[Point]) -> dict[str, list[str]]:
    """The metrics of each task, in order."""
    found: dict[str, list[str]] = {}
    for point in points:
        for task, metrics in point.tasks.items():
            found[task] = list(dict.fromkeys([*found.get(task, []), *metrics]))
    return found


def to_markdown(run_dir: str, points: Sequence[Point]) -> str:
    """One table a task: a row a checkpoint, a column a metric, `score (low to high)` in percent."""
    lines = [f"# Checkpoints of {reports.one_line(run_dir)}", "", "Score in percent with its 95 % interval.", ""]
    for task, metrics in series(points).items():
        lines += [
            f"## {task}",
            "",
            f"| checkpoint | step | {' | '.join(metrics)} |",
            "|---|---:" + "|---:" * len(metrics) + "|",
        ]
        for point in points:
            cells = [_cell(point.tasks.get(task, {}).get(metric)) for metric in metrics]
            lines.append(f"| {point.checkpoint} | {point.step:,} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    percent = reports.percent
    return f"{percent(row['score'])} ({percent(row['low'])} to {percent(row['high'])})"


def draw(path: Path, points: Sequence[Point]) -> None:
    """One panel a task, one line a metric, score in percent against the optimizer step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = series(points)
    figure, panels = pyplot.subplots(len(tasks), 1, figsize=(8, 4.5 * len(tasks)), layout="constrained", squeeze=False)
    for axes, (task, metrics) in zip(panels[:, 0], tasks.items(), strict=True):
        for metric in metrics:
            rows = [(point.step, point.tasks[task][metric]) for point in points if metric in point.tasks.get(task, {})]
            steps, scores = [step for step, _ in rows], [100 * row["score"] for _, row in rows]
            # Scores of 0 and 1 lie on an end of their interval, give or take rounding.
            below = [max(0.0, score - 100 * row["low"]) for score, (_, row) in zip(scores, rows, strict=True)]
            above = [max(0.0, 100 * row["high"] - score) for score, (_, row) in zip(scores, rows, strict=True)]
            axes.errorbar(steps, scores, yerr=[below, above], marker="o", capsize=3, label=metric)
        axes.set_title(task)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("score in %, 95 % interval")
        axes.legend(fontsize="small")
    scratch = path.with_name(f".{path.name}")
    figure.savefig(scratch, format="png", dpi=120)
    pyplot.close(figure)
    os.replace(scratch, path)
