"""What a build made: report.json (BuildReport), summary.md to read, lengths.png to look at.

rows read 353, kept 341, rejected 12 (control_token 7, over_length 5)
train: 320 dialogues in 41 rows of 8,192 tokens, packed to 98.7 %; 31.2 % of 331,402 tokens are trained
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from data_prep.quality import QualityReport
from data_prep.rejection import LAWS

PERCENTILES = (0, 5, 25, 50, 75, 95, 99, 100)


class KindCount(msgspec.Struct, frozen=True):
    """Tokens of one kind, and how many of them are trained."""

    tokens: int
    trained: int


class SplitReport(msgspec.Struct, frozen=True):
    """One split. `dialogues` counts a dialogue as often as the mixture repeats it; lengths are tokens per sample."""

    rows: int
    dialogues: int
    distinct_dialogues: int
    samples: int
    tokens: int
    trained_tokens: int
    by_kind: dict[str, KindCount]
    length_percentiles: dict[str, int]
    dialogues_by_source: dict[str, int]
    packing_efficiency: float | None = None

    @property
    def trained_share(self) -> float:
        """Trained tokens over all tokens, 0 to 1."""
        return self.trained_tokens / self.tokens if self.tokens else 0.0


class BuildReport(msgspec.Struct, frozen=True):
    """The counts of a build; `read` = `kept` + `rejected`, and `kept` = used in a split + `not_drawn`.

    `laws` says on how many kept rows each law of data_prep/proofs.py was checked and holds (a row that fails one is in
    the quarantine, under the law's name); `samples_per_dialogue` how many rows became one sample, how many two, ...
    """

    name: str
    read: int
    kept: int
    rejected: int
    not_drawn: int
    rejected_by_reason: dict[str, int]
    rejected_by_file: dict[str, dict[str, int]]
    truncated_dialogues: int
    truncated_turns: int
    untrained_samples: int
    control_text_dialogues: int
    max_length: int
    train_on: tuple[str, ...]
    seed: int
    encoder: dict[str, Any]
    quality: QualityReport
    train: SplitReport
    held_out: SplitReport
    laws: dict[str, int]
    samples_per_dialogue: dict[str, int]
    notes: tuple[str, ...] = ()

    def line(self) -> str:
        """The build in one line."""
        train, held_out = self.train, self.held_out
        packed = f", packed to {train.packing_efficiency:.1%}" if train.packing_efficiency is not None else ""
        return (
            f"{self.name}: read {self.read:,}, rejected {self.rejected:,}; train {train.dialogues:,} dialogues in "
            f"{train.rows:,} rows{packed}, {train.tokens:,} tokens, {train.trained_share:.1%} trained; "
            f"held out {held_out.dialogues:,} dialogues"
        )


def write_report(folder: Path, report: BuildReport) -> None:
    """report.json and summary.md."""
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2)
    (folder / "report.json").write_bytes(encoded + b"\n")
    (folder / "summary.md").write_text(summary(report), encoding="utf-8")


def read_report(folder: Path) -> BuildReport:
    """The report of a finished build."""
    return msgspec.json.decode((folder / "report.json").read_bytes(), type=BuildReport)


def summary(report: BuildReport) -> str:
    """The build as Markdown."""
    lines = [f"# {report.name}", "", report.line(), "", report.quality.line(), ""]
    lines += [f"- {example}" for example in report.quality.examples] + ([""] if report.quality.examples else [])
    lines += [f"- {note}" for note in report.notes] + ([""] if report.notes else [])
    lines += _table(
        ["", "train", "held_out"],
        [
            ["rows", *_both(report, lambda s: f"{s.rows:,}")],
            ["dialogues", *_both(report, lambda s: f"{s.dialogues:,}")],
            ["distinct dialogues", *_both(report, lambda s: f"{s.distinct_dialogues:,}")],
            ["samples", *_both(report, lambda s: f"{s.samples:,}")],
            ["tokens", *_both(report, lambda s: f"{s.tokens:,}")],
            ["trained tokens", *_both(report, lambda s: f"{s.trained_tokens:,} ({s.trained_share:.1%})")],
            ["packing efficiency", *_both(report, _efficiency)],
        ],
    )
    lines += ["## Tokens by kind", ""]
    lines += _table(
        ["kind", "train", "of it trained", "held_out", "of it trained"],
        [
            [kind, *_kind_cells(report.train, kind), *_kind_cells(report.held_out, kind)]
            for kind in report.train.by_kind
        ],
    )
    lines += ["## Sample length in tokens", "", f"max_length {report.max_length:,}; histogram in lengths.png", ""]
    names = [f"p{p}" for p in PERCENTILES]
    lines += _table(
        ["", *names],
        [
            [name, *(f"{split.length_percentiles[p]:,}" if split.length_percentiles else "" for p in names)]
            for name, split in (("train", report.train), ("held_out", report.held_out))
        ],
    )
    lines += ["## Dialogues by source", ""]
    train, held_out = report.train.dialogues_by_source, report.held_out.dialogues_by_source
    lines += _table(
        ["source", "train", "held_out"],
        [
            [name, f"{train.get(name, 0):,}", f"{held_out.get(name, 0):,}"]
            for name in dict.fromkeys([*train, *held_out])
        ],
    )
    lines += ["## Laws proven on every row", ""]
    lines += _table(["law", "rows", ""], [[law, f"{rows:,}", LAWS[law]] for law, rows in report.laws.items()])
    lines += ["## Rejected rows", ""]
    lines += [f"read {report.read:,} = kept {report.kept:,} + rejected {report.rejected:,} (quarantine.jsonl)", ""]
    lines += _table(["reason", "rows"], [[code, f"{count:,}"] for code, count in report.rejected_by_reason.items()])
    return "\n".join(lines)


def _both(report: BuildReport, show: Any) -> list[str]:
    return [show(report.train), show(report.held_out)]


def _efficiency(split: SplitReport) -> str:
    return "not packed" if split.packing_efficiency is None else f"{split.packing_efficiency:.2%}"


def _kind_cells(split: SplitReport, kind: str) -> list[str]:
    count = split.by_kind[kind]
    return [f"{count.tokens:,}", f"{count.trained / count.tokens:.1%}" if count.tokens else ""]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *cells]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def draw_lengths(path: Path, train: NDArray[np.int64], held_out: NDArray[np.int64], max_length: int) -> None:
    """Histogram of the sample lengths of both splits as a PNG, with no date in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    bins = np.histogram_bin_edges(np.concatenate([train, held_out]), bins=60).tolist()
    axes.hist(train, bins=bins, label=f"train ({train.size:,})")
    axes.hist(held_out, bins=bins, label=f"held out ({held_out.size:,})")
    if train.size and train.max() > max_length / 4:
        axes.axvline(max_length, color="black", linestyle="--", linewidth=1, label=f"max_length {max_length:,}")
    axes.set_xlabel("sample length in tokens")
    axes.set_ylabel("samples")
    axes.set_yscale("symlog", linthresh=1)
    axes.legend(loc="upper right")
    figure.savefig(path, metadata={"Software": None})
