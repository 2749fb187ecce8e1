"""Descriptions as one HTML file that loads nothing from anywhere: `write_html("describe.html", [first, second])`.

Tables, plots drawn as SVG, and five random rows of each file. All text is escaped by the template engine, and a
Content-Security-Policy forbids every script.
"""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, StrictUndefined

from data_prep.describe import Description
from data_prep.describe_table import plots, table
from data_prep.outfile import OutFile
from data_prep.visible import visible

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What is in the data</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.6 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem; border-bottom: 1px solid #8884; }
th { font-weight: 500; width: 16rem; }
td, h1 { overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .3rem; }
pre { font: 13px/1.6 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; padding: .8rem;
      border: 1px solid #8884; border-radius: 6px; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
figure { margin: 0; } figcaption { font-weight: 500; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.file0 { fill: #2f6db5; } .file1 { fill: #d97706; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.key.file0 { background: #2f6db5; } .key.file1 { background: #d97706; }
</style>
</head>
<body>
<h1>What is in the data</h1>
{% for one in described %}<p><span class="key file{{ loop.index0 }}"></span>{{ one.file }}</p>
{% endfor %}
{% for section in table %}
<h2>{{ section.title }}</h2>
<table>{% for label, cells in section.rows %}
<tr><th>{{ label }}</th>{% for cell in cells %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</table>
{% endfor %}
<h2>Plots: share of what is counted</h2>
<div class="plots">
{% for plot in plots %}<figure><figcaption>{{ plot.title }}</figcaption>
{% set step = 6 + 11 * plot.shares | length %}{% set top = plot.shares | map("max") | max %}
<svg width="360" height="{{ plot.labels | length * step + 4 }}" role="img" aria-label="{{ plot.title }}">
{% for label in plot.labels %}{% set y = loop.index0 * step %}{% set place = loop.index0 %}
<text x="118" y="{{ y + step / 2 + 3 }}" text-anchor="end">{{ label[:20] }}</text>
{% for shares in plot.shares %}{% set width = 180 * shares[place] / (top or 1) %}
<rect class="file{{ loop.index0 }}" x="124" y="{{ y + 2 + 11 * loop.index0 }}" width="{{ "%.1f" | format(width) }}"
 height="10"><title>{{ label }}: {{ "%.1f" | format(100 * shares[place]) }} %</title></rect>
<text x="{{ "%.1f" | format(128 + width) }}" y="{{ y + 11 + 11 * loop.index0 }}">
{{- "%.1f" | format(100 * shares[place]) }} %</text>
{% endfor %}{% endfor %}</svg></figure>
{% endfor %}</div>
{% for one in described %}
<h2>Random rows of {{ one.file }}</h2>
{% for row in one.rows %}<pre>{{ row }}</pre>
{% endfor %}{% endfor %}
</body>
</html>
"""


def html(described: Sequence[Description]) -> str:
    """The page that shows one description, or two side by side."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.from_string(PAGE).render(described=described, table=table(described), plots=plots(described))


def write_html(path: str, described: Sequence[Description]) -> None:
    """Write the page; whole or not at all."""
    with OutFile(path) as out:
        out.write(html(described).encode("utf-8", "replace"))
