"""python -m training doctor RECIPE [--gpus N --gpu-memory GiB --accelerate FILE] [key=value ...]

Before any GPU hour: what is trained, what each device must hold, how many tokens and steps, how long, whether it fits,
the cheapest way that does, and what in the recipe is probably not meant. The model's config.json is enough.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import yaml
from rich.console import Console
from rich.table import Table

from recipes import Recipe, load_recipe
from training.doctor_checks import mistakes
from training.doctor_data import Data, data_of, rows_per_step
from training.doctor_sizes import Traces, config_of
from training.doctor_time import Time, flops_per_token, measured, reckoned
from training.memory import GIB, Parts, Strategy, memory_of, strategies, strategy_of
from training.model import ModelError
from training.trace import MicroBatch

METHODS = ("full", "lora", "qlora")


class Way(NamedTuple):
    """One way to train, and what it takes on each device."""

    method: str
    checkpointing: bool
    strategy: Strategy
    parts: Parts
    fits: bool

    def name(self) -> str:
        """`lora, ZeRO-2 on 4 GPUs, gradient checkpointing`."""
        count = self.strategy.processes
        return (
            f"{self.method}, {self.strategy.name()} on {count} device{'s' if count > 1 else ''}"
            f"{', gradient checkpointing' if self.checkpointing else ''}"
        )


def method_of(recipe: Recipe) -> str:
    """full, lora or qlora."""
    return "qlora" if recipe.load_in_4bit else "lora" if recipe.use_peft else "full"


def as_method(recipe: Recipe, method: str) -> Recipe:
    """The recipe by another method; adapter settings as it has them, else the schema's."""
    return recipe.model_copy(update={"use_peft": method != "full", "load_in_4bit": method == "qlora"})


def ways(recipe: Recipe, traces: Traces, batch: MicroBatch, plans: list[Strategy], capacity: float) -> list[Way]:
    """Each method by each strategy, with and without checkpointing where that is not the recipe's already."""
    found = []
    for method in METHODS if traces.on_gpu else (method_of(recipe),):
        changed = as_method(recipe, method)
        for checkpointing in sorted({recipe.gradient_checkpointing, True}):
            variant = changed.model_copy(update={"gradient_checkpointing": checkpointing})
            for plan in plans:
                traced = traces.trace(variant, plan, batch)
                sizes = traces.sizes(variant)
                parts = memory_of(variant, plan, sizes, traced, batch.trained, traces.on_gpu)
                fits = parts.needed(traces.on_gpu) <= capacity
                found.append(Way(method, checkpointing, plan, parts, fits))
    return found


def cheapest(found: list[Way], recipe: Recipe) -> Way | None:
    """The way that fits on the fewest devices: first of the recipe's own method, and of those as simple as can be."""
    own = method_of(recipe)
    fitting = [way for way in found if way.fits]
    order = [METHODS.index(way.method) if way.method != own else -1 for way in fitting]
    ranked = sorted(
        zip(order, fitting, strict=True),
        key=lambda pair: (pair[0], pair[1].strategy.processes, pair[1].parts.main_memory > 0, pair[1].checkpointing),
    )
    return ranked[0][1] if ranked else None


def examine(options: argparse.Namespace) -> dict[str, Any]:
    """Everything the command prints, as JSON values. Raises RecipeError, ModelError, OSError, ValueError."""
    recipe = load_recipe(options.recipe, options.overrides)
    config = config_of(recipe, options.config)
    asked, on_cpu = strategy_of(options.accelerate, options.gpus) if options.accelerate else (None, False)
    processes = asked.processes if asked else options.gpus or 1
    data = data_of(recipe, not options.no_data)
    traces = Traces(config, on_gpu=not on_cpu)
    capacity = psutil.virtual_memory().total / processes if on_cpu else options.gpu_memory * GIB
    counts = sorted({2**power for power in range(processes.bit_length()) if 2**power <= processes} | {processes})
    plans = [asked] if on_cpu and asked else [plan for count in counts for plan in strategies(count)]
    if asked and asked not in plans:
        plans.append(asked)
    found = ways(recipe, traces, data.heaviest, plans, capacity)
    asked = asked or plans_first(plans, processes)
    as_written = (method_of(recipe), recipe.gradient_checkpointing, asked)
    own = [way for way in found if (way.method, way.checkpointing, way.strategy) == as_written]
    best = cheapest(found, recipe)
    sizes = traces.sizes(recipe)
    tokens = data.run_tokens(recipe, processes)
    return {
        "recipe": recipe.name,
        "model": recipe.model_name_or_path,
        "method": method_of(recipe),
        "devices": processes,
        "parameters": {"trained": sizes.trained, "frozen": sizes.frozen},
        "data": _data_facts(recipe, data, processes),
        "micro_batch": data.heaviest._asdict(),
        "time": None if tokens is None else _time(options, recipe, traces, data, processes, tokens),
        "capacity_gib": round(capacity / GIB, 1),
        "own": _way(own[0]) if own else None,
        "ways": [_way(way) for way in found if way.strategy.processes == processes],
        "cheapest": _way(best) if best else None,
        "mistakes": mistakes(recipe, config, data, processes, not on_cpu),
    }


def plans_first(plans: list[Strategy], processes: int) -> Strategy:
    """The simplest strategy on all the processes: what `accelerate launch` without a file would start."""
    return next(plan for plan in plans if plan.processes == processes)


def _data_facts(recipe: Recipe, data: Data, processes: int) -> dict[str, Any]:
    return {
        "rows": data.rows,
        "tokens": data.tokens,
        "trained_tokens": data.trained,
        "held_out_rows": data.held_out_rows,
        "rows_full": round(data.full, 4),
        "padding_share": 0.0,
        "padding_share_if_padded": round(data.padded, 4),
        "rows_per_step": rows_per_step(recipe, processes),
        "steps": data.steps(recipe, processes),
        "epochs": data.epochs(recipe, processes),
        "assumed_because": data.assumed_because,
    }


def _time(
    options: argparse.Namespace, recipe: Recipe, traces: Traces, data: Data, processes: int, tokens: float
) -> dict[str, Any] | None:
    found: Time
    if options.measure:
        found = measured(options.recipe, options.overrides, data, options.accelerate, tokens)
    elif options.tflops:
        flops = flops_per_token(recipe, traces.config, traces.sizes(recipe), data)
        found = reckoned(options.tflops, flops, tokens, processes)
    else:
        return None
    return found._asdict()


def _way(way: Way) -> dict[str, Any]:
    parts = {name: round(value / GIB, 3) for name, value in way.parts._asdict().items()}
    return {
        "name": way.name(), "method": way.method, "strategy": way.strategy.name(), "devices": way.strategy.processes,
        "gradient_checkpointing": way.checkpointing, "gib": parts, "peak_gib": round(way.parts.total() / GIB, 3),
        "fits": way.fits,
    }  # fmt: skip


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report in words, but for its table."""
    counts, data, heaviest = report["parameters"], report["data"], report["micro_batch"]
    yield f"{report['recipe']}: {report['method']} on {report['model']}"
    yield f"parameters: {counts['trained'] / 1e6:,.1f} M trained, {counts['frozen'] / 1e6:,.1f} M frozen"
    if data["assumed_because"]:
        yield f"data: not counted ({data['assumed_because']}); every row is taken to be full and trained"
    else:
        yield (
            f"data: {data['rows']:,} rows, {data['tokens']:,} tokens, {data['trained_tokens']:,} of them trained, rows "
            f"{data['rows_full']:.0%} full; no padding (padded batches would be {data['padding_share_if_padded']:.0%})"
        )
    steps = "steps unknown" if data["steps"] is None else f"{data['steps']:,} steps"
    epochs = "" if data["epochs"] is None else f", {data['epochs']:.2g} epochs"
    yield f"run: {data['rows_per_step']} rows a step, {steps}{epochs}"
    yield f"largest micro-batch: {heaviest['tokens']:,} tokens, {heaviest['trained']:,} trained"
    if report["time"]:
        time = report["time"]
        yield f"time: {time['seconds'] / 3600:.2f} h at {time['tokens_per_s']:,.0f} tokens/s, {time['how']}"
    else:
        yield "time: unknown; --measure runs a few steps here, --tflops X states what a device does"


def verdict(report: dict[str, Any]) -> Iterator[str]:
    """Whether the recipe fits as asked, the cheapest way that does, and the mistakes."""
    own, best = report["own"], report["cheapest"]
    if own:
        fits = "fits" if own["fits"] else "DOES NOT FIT"
        yield f"verdict: {own['name']} {fits}: {own['peak_gib']:.1f} of {report['capacity_gib']:g} GiB at the peak"
    yield f"cheapest that fits: {best['name']}" if best else "nothing fits; take more GPUs or a smaller max_length"
    for mistake in report["mistakes"]:
        yield f"mistake? {mistake}"


def table(report: dict[str, Any]) -> Table:
    """GiB per device, a line for each way on all the devices."""
    shown = Table(title=f"GiB on each of {report['devices']} at the peak", title_justify="left")
    for heading in ("way", *Parts._fields[:-1], "peak", "fits", "main memory"):
        shown.add_column(heading, justify="left" if heading in ("way", "fits") else "right")
    for way in report["ways"]:
        gib = [f"{value:.1f}" for name, value in way["gib"].items() if name != "main_memory"]
        shown.add_row(
            f"{way['method']}, {way['strategy']}" + (", checkpointing" * way["gradient_checkpointing"]),
            *gib,
            f"{way['peak_gib']:.1f}",
            "yes" if way["fits"] else "no",
        )
    return shown


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training doctor", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("recipe", metavar="RECIPE.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="fields of the recipe to set")
    parser.add_argument("--gpus", type=int, metavar="N", help="devices (default: the launch file's, else 1)")
    parser.add_argument("--gpu-memory", type=float, default=80, metavar="GiB", help="memory of each (default 80)")
    parser.add_argument("--accelerate", type=Path, metavar="FILE", help="launch file whose strategy is meant")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the model's config.json, if it is not at hand")
    parser.add_argument("--no-data", action="store_true", help="do not build the data; take every row to be full")
    parser.add_argument("--measure", action="store_true", help="run a few steps here to tell the time")
    parser.add_argument("--tflops", type=float, metavar="X", help="what one device does of such work, in TFLOP/s")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str]) -> int:
    """Print the report; 1 where the recipe does not fit as asked. Raises RecipeError, ModelError, MeasurementFailed."""
    options = _options(arguments)
    try:
        report = examine(options)
    except (OSError, yaml.YAMLError) as error:
        raise ModelError(f"{options.accelerate}: cannot be read as a launch file: {error}") from error
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        console = Console(highlight=False, markup=False, soft_wrap=True, width=160)
        for line in lines(report):
            console.print(line)
        console.print(table(report))
        for line in verdict(report):
            console.print(line)
    return 0 if report["own"] is None or report["own"]["fits"] else 1
