"""python -m recipes.scaling [--sizes 12 24 48 96] [--out runs/scaling] [key=value ...]: scores against dialogues.

One model is trained on more and more synthetic dialogues (each set begins with the smaller one), and at the largest
size without parallel calls and without bottom-up composition; all, the untrained one too, take the same evaluations.
That is the shape of the paper's tables, in the small: an hour or so on two cores.

OUT/base, 12, 24, 48, 96, parallel-off, no-bottom-up    one folder a model: train.jsonl, model/, eval/TASK/
OUT/scaling.json, scaling.md, scaling.png               scores with 95 % intervals, after each model

It runs the commands that a user would (`data_prep synth`, `train.py`, `eval run`) and prints them. Killed, it goes on:
finished models are kept, and an unfinished training or evaluation resumes by itself. With a recipe of a larger model
(--recipe) the sizes are the paper's, 2000 to 8000; `key=value` are overrides of the recipe.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recipes.load import load_recipe
from recipes.schema import Recipe, RecipeError

SMALL_RECIPE = "recipes/quickstart/button.yaml"
SMALL_SIZES, FULL_SIZES = (12, 24, 48, 96), (2000, 4000, 6000, 8000)
SHAPE = ("--max-calls", "3", "--max-tools", "5", "--simple")  # three calls are the fewest that can be parallel
HELD_OUT = ("--rows", "51", "--rows-per-list", "6", "--split", "held_out")
MAX_NEW_TOKENS = {"calls": 160, "program": 256}
SHOWN = {"calls": ("name_and_arguments_exact", "schema_valid_call"), "program": ("success", "progress")}


class Arm(NamedTuple):
    """One model of the experiment: how many dialogues it is trained on, and how they differ. None: not trained."""

    name: str
    size: int | None
    switches: tuple[str, ...] = ()


class Experiment(NamedTuple):
    """What fixes the numbers; a folder holds one experiment."""

    recipe: str
    overrides: tuple[str, ...]
    sizes: tuple[int, ...]
    limits: dict[str, int]  # items of each task
    seed: int

    def arms(self) -> list[Arm]:
        """The models, in the order they are made."""
        sized = [Arm(str(size), size) for size in self.sizes]
        largest = self.sizes[-1]
        ablations = [
            Arm("parallel-off", largest, ("--parallel", "off")),
            Arm("no-bottom-up", largest, ("--no-bottom-up",)),
        ]
        return [Arm("base", None), *sized, *ablations]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment, or the rest of it; returns the exit status: that of the first command that failed."""
    parser = argparse.ArgumentParser(prog="python -m recipes.scaling", description="BUTTON's data-scaling experiment.")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the recipe")
    parser.add_argument("--recipe", default=SMALL_RECIPE, help=f"trains each model (default: {SMALL_RECIPE})")
    parser.add_argument(
        "--sizes", type=int, nargs="+", help="dialogues, rising (default: 12 24 48 96, or 2000 to 8000)"
    )
    parser.add_argument("--calls", type=int, default=60, metavar="N", help="turns of the task calls (default: 60)")
    parser.add_argument("--program", type=int, default=20, metavar="N", help="its episodes (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the training data")
    parser.add_argument("--out", default="runs/scaling", metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run none")
    args = parser.parse_args(argv)
    sizes = tuple(args.sizes or (SMALL_SIZES if args.recipe == SMALL_RECIPE else FULL_SIZES))
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
        parser.error(f"--sizes must rise from at least 1, not {' '.join(map(str, sizes))}")
    limits = {"calls": args.calls, "program": args.program}
    experiment = Experiment(args.recipe, tuple(args.overrides), sizes, limits, args.seed)
    try:
        return run(experiment, Path(args.out), args.dry_run)
    except (RecipeError, FileExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(experiment: Experiment, out: Path, dry_run: bool = False) -> int:
    """Every command that is not done yet; 0, or the status of one that failed. Raises FileExistsError, RecipeError."""
    recipe = load_recipe(experiment.recipe, experiment.overrides)
    if not dry_run:
        claim(out, experiment)
    scores: dict[str, Any] = {}
    for arm in experiment.arms():
        reports = {task: out / arm.name / "eval" / task / "report.json" for task in experiment.limits}
        if not all(path.is_file() for path in reports.values()):
            for command in commands(experiment, arm, out, recipe):
                if (status := execute(command, dry_run)) != 0:
                    return status
        if not dry_run:
            scores[arm.name] = {task: scores_of(path, task) for task, path in reports.items()}
            write(out, experiment, scores)
    if not dry_run:
        draw(out / "scaling.png", experiment, scores)
        print(table(experiment, scores))
        print(f"{out}/scaling.json, scaling.md and scaling.png hold the scores")
    return 0


def commands(experiment: Experiment, arm: Arm, out: Path, recipe: Recipe) -> list[list[str]]:
    """The command lines that make and evaluate one model; the held-out dialogues are made by the first."""
    folder, held_out = out / arm.name, out / "held_out.jsonl"
    synth = [sys.executable, "-m", "data_prep", "synth", "button", "--seed", str(experiment.seed), *SHAPE]
    made: list[list[str]] = []
    model = str(folder / "model") if arm.size else recipe.model_name_or_path
    if not arm.size:
        made.append([*synth, "--out", str(held_out), *HELD_OUT])
    else:
        data = folder / "train.jsonl"
        made.append([*synth, "--out", str(data), "--rows", str(arm.size), "--rows-per-list", "2", *arm.switches])
        fields = [f"output_dir={folder / 'model'}", f"train_data.0.path=[{data}]"]
        if recipe.held_out_data:
            fields.append(f"held_out_data=[{{source: button, path: [{held_out}], samples: 2}}]")
        made.append([sys.executable, "train.py", experiment.recipe, *fields, *experiment.overrides])
    for task, limit in experiment.limits.items():
        data_of = ["--data", str(held_out)] if task == "calls" else []
        made.append([sys.executable, "-m", "eval", "run", model, "--tasks", task, *data_of, "--limit", str(limit),
                     "--tool-format", "button", "--max-new-tokens", str(MAX_NEW_TOKENS[task]),
                     "--out", str(folder / "eval" / task)])  # fmt: skip
    return made


def execute(command: Sequence[str], dry_run: bool) -> int:
    """Print a command and run it in the repository's root; its exit status."""
    print(f"+ {shlex.join(['python', *command[1:]])}", flush=True)
    if dry_run:
        return 0
    started = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    print(f"  ({time.monotonic() - started:.0f} s{f', exit status {status}' if status else ''})", flush=True)
    return status


def claim(out: Path, experiment: Experiment) -> None:
    """Make the folder this experiment's, or find that it is. Raises FileExistsError where it holds another."""
    path = out / "scaling.json"
    settings = json.loads(json.dumps(experiment._asdict()))
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))["experiment"]
        other = [key for key in settings if before.get(key) != settings[key]]
        if other:
            raise FileExistsError(f"{out} holds an experiment with other {', '.join(other)}; choose a new --out")
    else:
        write(out, experiment, {})


def scores_of(report: Path, task: str) -> dict[str, dict[str, float]]:
    """{metric: {"n", "score", "low", "high"}} of one report of `eval run`."""
    metrics = json.loads(report.read_text(encoding="utf-8"))["tasks"][task]["metrics"]
    return {name: {key: row[key] for key in ("n", "score", "low", "high")} for name, row in metrics.items()}


def write(out: Path, experiment: Experiment, scores: dict[str, Any]) -> None:
    """scaling.json and scaling.md, each whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    value = {"experiment": experiment._asdict(), "scores": scores}
    for name, text in (("scaling.md", table(experiment, scores)), ("scaling.json", json.dumps(value, indent=2))):
        scratch = out / f".{name}.{os.getpid()}"
        scratch.write_text(text + "\n", encoding="utf-8")
        os.replace(scratch, out / name)


def table(experiment: Experiment, scores: dict[str, Any]) -> str:
    """The scores as Markdown: a row a model, percent with 95 % intervals."""
    columns = [(task, metric) for task, metrics in SHOWN.items() for metric in metrics]
    lines = ["| trained on | " + " | ".join(f"{task}: {metric}" for task, metric in columns) + " |",
             "| --- |" + " ---: |" * len(columns)]  # fmt: skip
    for arm in experiment.arms():
        cells = [_cell(scores.get(arm.name, {}).get(task, {}).get(metric)) for task, metric in columns]
        lines.append(f"| {label(arm)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def label(arm: Arm) -> str:
    """`96 dialogues, parallel off`."""
    if arm.size is None:
        return "nothing"
    return f"{arm.size} dialogues" + (f", {arm.name.replace('-', ' ')}" if arm.switches else "")


def _cell(row: dict[str, float] | None) -> str:
    return "" if row is None else f"{100 * row['score']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def draw(path: Path, experiment: Experiment, scores: dict[str, Any]) -> None:
    """A panel a task: scores against the number of dialogues as lines, the two ablations as points beside them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    arms = experiment.arms()
    for axes, (task, metrics) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
        for number, metric in enumerate(metrics):
            for joined in (True, False):
                rows = {place: scores[arm.name][task][metric] for place, arm in enumerate(arms)
                        if joined != bool(arm.switches) and metric in scores[arm.name][task]}  # fmt: skip
                reach = [[100 * max(0.0, row["score"] - row["low"]) for row in rows.values()],
                         [100 * max(0.0, row["high"] - row["score"]) for row in rows.values()]]  # fmt: skip
                style = {"fmt": "o-", "label": metric} if joined else {"fmt": "o"}
                percent = [100 * row["score"] for row in rows.values()]
                axes.errorbar(list(rows), percent, yerr=reach, capsize=3, color=f"C{number}", **style)
        axes.set_title(task)
        axes.set_xticks(range(len(arms)), [label(arm).replace(", ", ",\n") for arm in arms], rotation=30, ha="right")
        axes.set_ylabel("score in %, 95 % interval")
        axes.set_ylim(-2, 102)
        axes.legend(fontsize="small")
    scratch = path.with_name(f".{path.name}")
    figure.savefig(scratch, format="png", metadata={"Software": None})
    os.replace(scratch, path)


if __name__ == "__main__":
    sys.exit(main())
