"""What a chat template carries, loses and needs, with the rendering that shows it.

    python -m data_prep template MODEL [--tool-format native|button] [--json FILE|-]
    python -m data_prep template FILE.jinja --tokenizer MODEL

The decisions are the Encoder's own; the doctor adds the evidence and asks what an encoder need not know. Exit 1 where
the Encoder refuses the template.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from data_prep import template as t
from data_prep.encode import Encoder, load_tokenizer, read_template
from data_prep.outfile import OutFile
from data_prep.preview import PIPE_WIDTH, visible
from data_prep.template import TemplateError
from data_prep.template_evidence import Answer, Subject
from data_prep.template_questions import calls, system_prompt, thinking, tool_results, tools
from data_prep.template_turns import control_tokens, determinism, end_to_end, generation_prompt, history, stop_token

QUESTIONS = (
    system_prompt,
    tools,
    calls,
    tool_results,
    thinking,
    history,
    generation_prompt,
    stop_token,
    determinism,
    control_tokens,
    end_to_end,
)
ADAPTATIONS = {
    "fold_system": "the system prompt stands before the first user message",
    "arguments_as_text": "arguments are given as JSON text instead of an object",
    "call_content_absent": "a call turn without a thought is given no content at all, instead of an empty one",
    "nine_character_ids": "call ids are made over as nine alphanumeric characters",
    "results_as_user": "BUTTON's tool results are given as user turns",
    "thinking_before_answer": "thinking stands before the answer, a blank line between",
}

FIXED_DATE = {"strftime_now": "26 Jul 2024"}  # works for every template, whatever its date variable is called
SHOWN = 2  # excerpts to print of each answer; the JSON has all
MARKS = {True: ("yes", "green"), False: ("no", "red"), None: ("", "")}


class Examination(NamedTuple):
    """The verdict on a template. `refused` is the Encoder's reason for not taking it, None where it does.

    `facts` are the Encoder's. `assumed` are template_kwargs that the answers needed and nobody gave.
    """

    name: str
    template_sha256: str
    refused: str | None
    assumed: dict[str, Any]
    facts: dict[str, Any] | None
    why: str
    answers: list[Answer]

    def answer(self, key: str) -> Answer | None:
        """The answer to one question, None where it was not asked."""
        return next((answer for answer in self.answers if answer.key == key), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "template_sha256": self.template_sha256,
            "accepted": self.refused is None,
            "refused": self.refused,
            "assumed_template_kwargs": self.assumed,
            "why": self.why,
            "encoder": self.facts,
            "questions": {
                answer.key: {
                    "holds": answer.holds,
                    "verdict": answer.verdict,
                    "evidence": [seen._asdict() for seen in answer.evidence],
                }
                for answer in self.answers
            },
        }


def examine(
    tokenizer: PreTrainedTokenizerBase,
    chat_template: str | None = None,
    tool_format: str = "auto",
    template_kwargs: dict[str, Any] | None = None,
    name: str = "",
) -> Examination:
    """Examine a tokenizer's own chat template, or `chat_template` (a shipped name, a path, or Jinja text).

    Raises TemplateError for text that is no Jinja or where there is none, ValueError for a slow tokenizer.
    """
    kwargs = dict(template_kwargs or {})
    text = read_template(chat_template)
    if text is None and not tokenizer.chat_template:
        raise TemplateError(f"{name or 'the tokenizer'} has no chat template; examine a .jinja file with --tokenizer")
    encoder, refused = _encoder(tokenizer, tool_format, text, kwargs)
    assumed: dict[str, Any] = {}
    if encoder is None and refused and "reads the clock" in refused:
        assumed = FIXED_DATE  # with a date given, all else can still be said of the template
        encoder, other = _encoder(tokenizer, tool_format, text, kwargs | assumed)
        refused = refused if other is None else f"{refused}; with a date given, {other}"
    source = t.with_kwargs(text if text is not None else tokenizer.get_chat_template(), kwargs)
    subject = Subject(tokenizer, source, encoder, refused)
    answers = [answer for question in QUESTIONS for answer in question(subject)]
    facts = encoder.facts() if encoder else None
    why = _why(encoder, refused, tool_format)
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    return Examination(name, sha256, refused, assumed, facts, why, answers)


def _encoder(
    tokenizer: PreTrainedTokenizerBase, tool_format: Any, text: str | None, kwargs: dict[str, Any]
) -> tuple[Encoder | None, str | None]:
    try:
        return Encoder(tokenizer, tool_format, text, kwargs), None
    except TemplateError as error:
        if "no valid Jinja" in str(error):
            raise
        return None, str(error)


def _why(encoder: Encoder | None, refused: str | None, tool_format: str) -> str:
    """Which tool_format follows, and from what."""
    if encoder is None:
        return f"no encoder: {refused}"
    lossy = encoder.formats.lossy
    if lossy is None:
        proven = "native loses nothing: every probe of calls reads back"
        return f"native; {proven}" if tool_format == "auto" else f"{tool_format}, as asked; {proven}"
    lost = f"native loses: {lossy.reason} ({lossy.code})"
    if tool_format == "auto":
        return f"button; {lost}"
    rows = "; native rows with tools are rejected for it" if tool_format == "native" else ""
    return f"{tool_format}, as asked; {lost}{rows}"


# The terminal


def show(console: Console, made: Examination) -> None:
    """Print an examination; template text only shows, it never acts on the terminal."""
    console.print(Text(f"{visible(made.name)}  (template sha256 {made.template_sha256[:12]})", style="bold"))
    if made.refused is not None:
        console.print(Text(f"refused by the encoder: {visible(made.refused)}", style="red"))
    if made.assumed:
        console.print(Text(f"what follows was found with template_kwargs {json.dumps(made.assumed)}"))
    if made.facts is not None:
        console.print(Text("tool_format   " + visible(made.why)))
        for name in made.facts["adaptations"]:
            console.print(Text("adaptation    " + _adaptation(name)))
    console.print("")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for answer in made.answers:
        mark, style = MARKS[answer.holds]
        grid.add_row(answer.key.replace("_", " "), Text(mark, style=style), Text(visible(answer.verdict), style="bold"))
        for seen in answer.evidence[:SHOWN]:
            shown = Text(f"{visible(seen.label)}: ", style="dim").append(visible(seen.text).replace("\n", "⏎"))
            grid.add_row("", "", shown)
    console.print(grid)


def _adaptation(name: str) -> str:
    key, _, value = name.partition("=")
    return f"{name}: {ADAPTATIONS.get(key, f'thinking is given under the key {value}')}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status. Raises TemplateError for what can't be examined."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep template", description="What a chat template carries, loses and needs, with evidence."
    )
    parser.add_argument("model", metavar="MODEL_OR_TEMPLATE", help="checkpoint directory, hub id, or .jinja file")
    parser.add_argument(
        "--tokenizer", metavar="M", help="for a .jinja file or a shipped template: whose tokens it uses"
    )
    parser.add_argument("--tool-format", choices=("auto", "native", "button"), default="auto")
    parser.add_argument("--template-kwargs", type=_object, default={}, metavar="JSON", help="as in a recipe")
    parser.add_argument(
        "--json", metavar="FILE|-", help="write the verdict as JSON too, or only that, to the output (-)"
    )
    options = parser.parse_args(argv)
    name, text = options.model, None
    if options.tokenizer is not None:
        name, text = options.tokenizer, _template(options.model)
    elif options.model.endswith(".jinja") or Path(options.model).is_file():
        raise TemplateError(f"{options.model} is a template without a tokenizer: its control tokens are not known; "
                            "give --tokenizer MODEL, a model that has them")  # fmt: skip
    made = examine(_tokenizer(name), text, options.tool_format, options.template_kwargs, options.model)
    if options.json != "-":
        show(Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False), made)
    if options.json:
        _write_json(options.json, made)
    return 0 if made.refused is None else 1


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r}: wanted a JSON object, as in \'{{"date_string": "26 Jul 2024"}}\'')
    return value


def _template(name: str) -> str:
    try:
        text = read_template(name)
    except OSError as error:
        raise TemplateError(f"no template {name!r}: {error}") from error
    assert text is not None
    return text


def _tokenizer(name: str) -> PreTrainedTokenizerBase:
    try:
        return load_tokenizer(name)
    except (OSError, ValueError) as error:
        raise TemplateError(f"no tokenizer at {name!r}: {error}") from error


def _write_json(path: str, made: Examination) -> None:
    text = json.dumps(made.to_dict(), ensure_ascii=False, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        with OutFile(path) as file:
            file.write(text.encode())
        print(f"verdict -> {path}")
