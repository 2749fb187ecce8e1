"""See what a model is trained on: dialogues with each token coloured by its kind, in the terminal and as HTML.

    python -m data_prep preview RECIPE.yaml [key=value ...] [--rows 0,1] [--html FILE]
    python -m data_prep preview --model M --in FILE [--source NAME] [--rows 0,1] [--html FILE]

Rows count from 0 over the rows that pass the checks, in the recipe's order. Without colours (a pipe, a log) the kind
stands in the margin. Data cannot act on the terminal: control characters are shown as pictures, never sent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from data_prep.build_dir import BuildError
from data_prep.dialogue import Dialogue, last_turn_only
from data_prep.encode import CONTEXT, KINDS, STOP, Encoded, Encoder, RejectedDialogue, load_encoder, load_tokenizer
from data_prep.fit import loaded
from data_prep.preview_html import write_html
from data_prep.quarantine import Quarantine, guess_source, iter_dialogues
from data_prep.samples import trained_tokens
from data_prep.sources import SOURCES
from data_prep.visible import visible
from recipes import DataSource, Recipe, load_recipe

STYLES = {"context": "grey50", "thought": "magenta", "call": "cyan", "answer": "green", "stop": "yellow"}
PIPE_WIDTH = 120  # columns where the output is no terminal


class Token(NamedTuple):
    """One token as it is shown: safe text (empty where its character ends in a later token), id, what it counts as."""

    text: str
    id: int
    kind: str
    trained: bool
    special: bool


class Turn(NamedTuple):
    """One assistant turn of a sample: how many tokens, how many trained, and both by kind."""

    total: int
    trained: int
    by_kind: dict[str, int]


class View(NamedTuple):
    """One sample as it is shown, or the reason why the dialogue has none (`tokens` is empty then)."""

    title: str
    tokens: list[Token]
    turns: list[Turn]
    rejected: str | None = None

    @property
    def trained(self) -> int:
        """Trained tokens."""
        return sum(token.trained for token in self.tokens)


def views(dialogue: Dialogue, encoder: Encoder, train_on: Sequence[str]) -> list[View]:
    """The samples of one dialogue as they are shown; a dialogue that does not encode gives one view with the reason."""
    title = f"{visible(dialogue.id)} ({visible(dialogue.source)})"
    try:
        samples = encoder.encode(dialogue)
    except RejectedDialogue as rejected:
        return [View(title, [], [], visible(f"{rejected.code}: {rejected.message}"))]
    of = f", sample {{}} of {len(samples)}" if len(samples) > 1 else ""
    return [_view(title + of.format(number), sample, encoder, train_on) for number, sample in enumerate(samples, 1)]


def _view(title: str, sample: Encoded, encoder: Encoder, train_on: Sequence[str]) -> View:
    kinds = np.array(sample.kinds, dtype=np.int8)
    trained = trained_tokens(kinds, np.array([kinds.size]), train_on).tolist()
    special = encoder.tokenizer.added_tokens_decoder
    pieces = token_texts(encoder.tokenizer, sample.input_ids)
    tokens = [
        Token(visible(piece), token_id, KINDS[kind], is_trained, token_id in special)
        for piece, token_id, kind, is_trained in zip(pieces, sample.input_ids, sample.kinds, trained, strict=True)
    ]
    return View(title, tokens, list(_turns(tokens)))


def _turns(tokens: list[Token]) -> Iterator[Turn]:
    turn: list[Token] = []
    for token in [*tokens, None]:
        if token is not None and token.kind != KINDS[CONTEXT]:
            turn.append(token)
        if turn and (token is None or token.kind in (KINDS[CONTEXT], KINDS[STOP])):
            counts = {kind: sum(t.kind == kind for t in turn) for kind in KINDS}
            by_kind = {kind: count for kind, count in counts.items() if count}
            yield Turn(len(turn), sum(t.trained for t in turn), by_kind)
            turn = []


def token_texts(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """The text that each token adds; joined, they are the decoded whole.

    A token that ends inside a character adds nothing, and the one that completes the character adds all of it. Tokens
    are decoded with the one before, because many tokenizers drop the white space that a text begins with.
    """

    def decode(part: Sequence[int]) -> str:
        return tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    texts: list[str] = []
    before, read = 0, 0  # ids[before:read] is context, ids[read:] is not yet shown
    for end in range(1, len(ids) + 1):
        shown, now = decode(ids[before:read]), decode(ids[before:end])
        complete = end == len(ids) or not now.endswith("\ufffd")
        texts.append(now[len(shown) :] if complete else "")
        if complete:
            before, read = read, end
    return texts


# The terminal


def show(console: Console, view: View) -> None:
    """Print one sample: a run of one kind per line, its kind in the margin, and the counts per turn."""
    console.print(Text(view.title, style="bold"))
    if view.rejected is not None:
        console.print(Text(f"rejected, {view.rejected}", style="red"), "")
        return
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for (kind, trained), run in groupby(view.tokens, key=lambda token: (token.kind, token.trained)):
        label = kind if trained or kind == KINDS[CONTEXT] else f"({kind})"
        grid.add_row(Text(label, style=STYLES[kind]), _coloured(run))
    console.print(grid)
    for number, turn in enumerate(view.turns, 1):
        kinds = ", ".join(f"{kind} {count}" for kind, count in turn.by_kind.items())
        console.print(Text(f"turn {number}: {turn.trained:,} of {turn.total:,} tokens trained ({kinds})"))
    console.print(Text(f"sample: {view.trained:,} of {len(view.tokens):,} tokens trained"), "")


def _coloured(tokens: Iterable[Token]) -> Text:
    """Tokens of a run; every second one is underlined, so that their borders show."""
    text = Text()
    for place, token in enumerate(tokens):
        style = STYLES[token.kind]
        style += " bold" if token.special else ""
        style += " underline" if place % 2 and token.kind != KINDS[CONTEXT] else ""
        style += " dim" if not token.trained and token.kind != KINDS[CONTEXT] else ""
        # append, never markup: "[red]" in the data is text.
        text.append(token.text.replace("\n", "⏎\n"), style=style)
    text.rstrip()
    return text


def legend() -> Text:
    """What the colours mean."""
    text = Text("kinds: ")
    for kind, style in STYLES.items():
        text.append(f"{kind} ", style=style)
    return text.append("| (kind) or dim: not trained | bold: special token | ⏎ line break | ␛ ... control character")


# Where the dialogues come from


def pick(entries: Sequence[DataSource], wanted: Sequence[int]) -> list[Dialogue]:
    """The rows number `wanted` among those that pass the checks. Raises BuildError for a number there is no row of."""

    def every() -> Iterator[Dialogue]:
        with Quarantine(None) as quarantine:
            for entry in entries:
                for path in entry.path:
                    pinned = f"{path}@{entry.revision}" if entry.revision else path
                    yield from iter_dialogues(entry.source, [pinned], quarantine, split=entry.split)

    found = {number: row for number, row in enumerate(islice(every(), max(wanted) + 1)) if number in wanted}
    missing = [number for number in wanted if number not in found]
    if missing:
        raise BuildError(f"--rows {missing[0]}: there are fewer rows that pass the checks; rows count from 0")
    return [found[number] for number in wanted]


def _entries_of_file(path: str, source: str | None) -> list[DataSource]:
    return [DataSource(source=source or guess_source(path), path=(path,))]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status. Raises BuildError, ReadError, RecipeError for what can't be shown."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep preview", description="Dialogues with each token coloured by its kind."
    )
    parser.add_argument("recipe", nargs="?", metavar="RECIPE.yaml", help="the recipe whose data and model to show")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="fields of the recipe to set")
    parser.add_argument("--model", help="instead of a recipe: hub id or directory of a model or tokenizer")
    parser.add_argument("--in", dest="path", metavar="FILE", help="with --model: dialogues to show")
    parser.add_argument("--source", choices=SOURCES, help="with --in: the format of its rows (default: guessed)")
    parser.add_argument("--rows", type=_row_numbers, default=(0, 1), metavar="0,1", help="rows to show, from 0")
    parser.add_argument("--html", metavar="FILE", help="write them as a self-contained page too")
    options = parser.parse_intermixed_args(argv)
    if (options.recipe is None) == (options.model is None) or (options.model is None) != (options.path is None):
        parser.error("give either RECIPE.yaml, or --model and --in")
    if options.recipe is not None:
        recipe = load_recipe(options.recipe, options.overrides)
        encoder = loaded(recipe.model_name_or_path, lambda: load_encoder(recipe))
        entries, train_on, only_last_turn = list(recipe.train_data), recipe.train_on, recipe.only_last_turn
    else:
        encoder = loaded(options.model, lambda: Encoder(load_tokenizer(options.model)))
        entries, train_on = _entries_of_file(options.path, options.source), Recipe.model_fields["train_on"].default
        only_last_turn = False
    dialogues = pick(entries, options.rows)
    if only_last_turn:
        dialogues = [last_turn_only(dialogue) for dialogue in dialogues]
    shown = [view for dialogue in dialogues for view in views(dialogue, encoder, train_on)]
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    console.print(legend(), "")
    for view in shown:
        show(console, view)
    if options.html:
        write_html(options.html, shown)
        print(f"{len(shown)} samples -> {options.html}")
    return 0


def _row_numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: wanted row numbers from 0, as in 0,1")
    return numbers
