"""What the report's and the comparison's page share: templates, plots of intervals, one file that loads nothing.

    page("report", data, title=..., tasks=...) -> HTML text

Model output stands in a JSON block and reaches the page as text nodes only. A Content-Security-Policy names the hash of
our own script and allows no other, so whatever else found its way into the page would not run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval.html_parts import as_json, visible

TEMPLATES = Path(__file__).parent / "templates"
PLOT_WIDTH = 190
PLOT_MARGIN = 8


class Mark(NamedTuple):
    """A score with its interval, all 0..1; `name` is the CSS class."""

    name: str
    score: float
    low: float
    high: float


def page(name: str, data: dict[str, Any], **values: Any) -> str:
    """The page `templates/NAME.html` with its script and data inlined."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    code = script(name)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return environment.get_template(f"{name}.html").render(
        style=Markup(read("page.css")),
        script=Markup(code),
        script_hash=digest,
        data=Markup(as_json(data)),
        plot=plot,
        axis=axis,
        **values,
    )


def script(name: str) -> str:
    """The page's JavaScript, in a scope of its own."""
    return f'(() => {{\n"use strict";\n{read("browse.js")}{read(f"{name}.js")}}})();'


def read(name: str) -> str:
    """A file of eval/templates."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def plot(marks: Sequence[Mark]) -> Markup:
    """SVG of one line per mark on an axis from 0 to 100 %."""
    height = 14 * len(marks) + 4
    pieces = [f'<line class="grid" x1="{_x(k / 4)}" x2="{_x(k / 4)}" y1="0" y2="{height}"/>' for k in range(5)]
    for row, mark in enumerate(marks):
        y = 14 * row + 9
        pieces.append(f'<line class="range {mark.name}" x1="{_x(mark.low)}" x2="{_x(mark.high)}" y1="{y}" y2="{y}"/>')
        pieces.append(f'<circle class="dot {mark.name}" cx="{_x(mark.score)}" cy="{y}" r="4"/>')
    label = "; ".join(f"{100 * m.score:.1f} ({100 * m.low:.1f} to {100 * m.high:.1f})" for m in marks)
    size = f'width="{PLOT_WIDTH}" height="{height}"'
    return Markup(f'<svg class="plot" role="img" aria-label="{label}" {size}>{"".join(pieces)}</svg>')


def axis() -> Markup:
    """SVG of the numbers above the plots."""
    anchors = ("start", "middle", "middle", "middle", "end")
    texts = [
        f'<text x="{_x(k / 4) + (-4 if k == 0 else 4 if k == 4 else 0)}" y="11" text-anchor="{anchor}">{25 * k}</text>'
        for k, anchor in enumerate(anchors)
    ]
    return Markup(f'<svg class="axis" width="{PLOT_WIDTH}" height="14">{"".join(texts)}</svg>')


def _x(share: float) -> float:
    return round(PLOT_MARGIN + (PLOT_WIDTH - 2 * PLOT_MARGIN) * share, 1)
