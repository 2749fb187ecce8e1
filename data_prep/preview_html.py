"""The preview as one HTML file that loads nothing from anywhere: `write_html("preview.html", views)`.

Hovering over a token shows its id and kind. All text is escaped by the template engine, and a Content-Security-Policy
forbids every script, so data that holds `<script>` is shown and never run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from data_prep.outfile import OutFile

if TYPE_CHECKING:
    from data_prep.preview import View

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What is trained</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.6 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
pre { font: 13px/1.8 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; padding: 1rem;
      border: 1px solid #8884; border-radius: 6px; }
.context { opacity: .65; }
.thought { background: #d946ef33; } .call { background: #06b6d440; } .answer { background: #22c55e3d; }
.stop { background: #eab30866; }
.special { font-weight: 700; }
.untrained { background: none; outline: 1px dotted #888; }
.token { border-left: 1px solid #8886; }
.break { opacity: .5; }
.rejected { color: #dc2626; }
</style>
</head>
<body>
<h1>What is trained</h1>
<p>{% for kind in ("context", "thought", "call", "answer", "stop") %}<span class="{{ kind }}">{{ kind }}</span>
{% endfor %}<span class="thought untrained">dotted: a part that is not trained</span> &middot; <b>bold</b>: special
token &middot; ⏎: line break &middot; hover over a token for its id</p>
{% for view in views %}
<h2>{{ view.title }}</h2>
{% if view.rejected is not none %}<p class="rejected">rejected, {{ view.rejected }}</p>{% else %}
<pre>{% for token in view.tokens -%}
<span class="token {{ token.kind }}{{ " special" if token.special }}
{{- " untrained" if not token.trained and token.kind != "context" }}" title="{{ token.id }} {{ token.kind }}
{{- ", trained" if token.trained }}">
{%- for line in token.text.split("\\n") %}{% if not loop.first %}<span class="break">⏎</span>
{% endif %}{{ line }}{% endfor %}</span>
{%- endfor %}</pre>
<ul>
{% for turn in view.turns %}<li>turn {{ loop.index }}: {{ turn.trained }} of {{ turn.total }} tokens trained
({% for kind, count in turn.by_kind.items() %}{{ ", " if not loop.first }}{{ kind }} {{ count }}{% endfor %})</li>
{% endfor %}<li>sample: {{ view.trained }} of {{ view.tokens | length }} tokens trained</li>
</ul>{% endif %}
{% endfor %}
</body>
</html>
"""


def html(views: Sequence[View]) -> str:
    """The page that shows these samples."""
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE).render(views=views)


def write_html(path: str, views: Sequence[View]) -> None:
    """Write the page; whole or not at all."""
    with OutFile(path) as out:
        out.write(html(views).encode("utf-8", "replace"))
