"""What is in a data set, in one pass over its checked dialogues: `describe(path, source, ...)` -> Description.

    dialogues 1,000; 3.6 assistant turns each; 2.4 calls each, 23 % of the turns that call make several; depth 2.1

Counts are of dialogues, turns, calls and values as they stand in the rows, whether trained or not. Near duplicates are
those of BUTTON-like data: MinHash Jaccard of at least 0.8 on runs of five words of what users say and what is called.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from data_prep.contamination import WORD, Contamination
from data_prep.describe_calls import Trail, argument_entries, type_of
from data_prep.dialogue import JSON, Dialogue, content_hash, function_of
from data_prep.duplicates import NearIndex
from data_prep.quarantine import Quarantine, iter_dialogues

SHOWN_ROWS, SHOWN_TURNS, SHOWN_TOOLS, SHOWN_EXAMPLES = 5, 12, 10, 3
RUN_WORDS = 5  # of a near duplicate's runs
NGRAM_WORDS = 100_000  # looked at for distinct n-grams: their share falls with the length of the text
NGRAMS = (1, 2, 3)

Histogram = dict[int, int]


class Description(msgspec.Struct, frozen=True):
    """The counts of one file. Histograms are value -> how many; entropies are in bits; shares are 0 to 1.

    parallel_share: of the turns that call, those with several calls. tool_entropy: of the functions called;
    argument_entropy: of parameter and value, over all arguments. distinct_ngrams: different n-grams over all n-grams of
    the first NGRAM_WORDS words of the users, by n. tokens: by kind, None without a model. contaminated: by evaluation
    set, None without any.
    """

    file: str
    source: str
    read: int
    rejected: dict[str, int]
    rejected_examples: tuple[str, ...]
    dialogues: int
    messages: dict[str, int]
    user_turns: Histogram
    assistant_turns: Histogram
    untrained_turns: int
    system_prompts: int
    calls: Histogram
    calls_per_turn: Histogram
    parallel_share: float
    depth: Histogram
    failed_results: int
    tools_listed: Histogram
    distinct_tools: int
    tools_called: dict[str, int]
    tool_entropy: float
    argument_types: dict[str, int]
    argument_origins: dict[str, int]
    distinct_arguments: int
    argument_entropy: float
    characters: Histogram
    distinct_ngrams: dict[int, float]
    duplicates: int
    near_duplicates: int
    near_examples: tuple[str, ...]
    tokens: dict[str, int] | None
    tokens_per_dialogue: Histogram | None
    not_encoded: dict[str, int]
    contaminated: dict[str, int] | None
    contaminated_examples: tuple[str, ...]
    rows: tuple[str, ...]


class NothingToDescribe(ValueError):
    """A file without a single dialogue; the message says why its rows were rejected."""


class Tokens(NamedTuple):
    """Tokens of one dialogue by kind; `rejected` is the reason why it has none."""

    by_kind: dict[str, int]
    rejected: str | None = None


CountTokens = Callable[[Sequence[Dialogue]], list[Tokens]]


def describe(
    path: str,
    source: str,
    count_tokens: CountTokens | None = None,
    contamination: Contamination | None = None,
    seed: int = 0,
) -> Description:
    """Describe one file or hub data set. Raises what `iter_dialogues` does, and NothingToDescribe."""
    tally = Tally(seed, count_tokens, contamination)
    with Quarantine(None) as quarantine:
        for dialogue in iter_dialogues(source, [path], quarantine):
            tally.add(dialogue)
    if not quarantine.kept:
        raise NothingToDescribe(
            f"{path}: none of {quarantine.read:,} rows is a dialogue of source {source!r} ({quarantine.reasons()}); "
            f"first: {'; '.join(quarantine.examples.values())}; give another --source, or fix the rows"
        )
    return tally.description(path, source, quarantine)


class Tally:
    """Counts dialogues one by one; holds the sketch of each, about 1 KB, and nothing else of it."""

    def __init__(self, seed: int, count_tokens: CountTokens | None, contamination: Contamination | None):
        self._count_tokens, self._contamination = count_tokens, contamination
        self._rng = Random(seed)
        self._counts: dict[str, Counter[int]] = {}
        self._names: dict[str, Counter[str]] = {}
        self._arguments: Counter[tuple[str, str]] = Counter()
        self._tools: set[bytes] = set()
        self._hashes: set[str] = set()
        self._near = NearIndex(RUN_WORDS)
        self._ids: list[str] = []
        self._examples: dict[str, list[str]] = {"near": [], "contaminated": []}
        self._ngrams: dict[int, tuple[set[int], list[int]]] = {n: (set(), []) for n in NGRAMS}
        self._words = 0
        self._rows: list[str] = []
        self._waiting: list[Dialogue] = []

    def add(self, dialogue: Dialogue) -> None:
        """Take one dialogue in."""
        self._ids.append(dialogue.id)
        self._add_turns(dialogue)
        self._add_tools(dialogue)
        self._add_words(dialogue)
        self._add_repeats(dialogue)
        self._sample(dialogue)
        if self._contamination is not None and (match := self._contamination.find(dialogue)):
            self._name("contaminated", match.set_name)
            self._example("contaminated", f"{dialogue.id} {match.message()}")
        if self._count_tokens is not None:
            self._waiting.append(dialogue)
            if len(self._waiting) == 256:
                self._encode_waiting()

    def _count(self, what: str, value: int) -> None:
        self._counts.setdefault(what, Counter())[value] += 1

    def _name(self, what: str, name: str, times: int = 1) -> None:
        self._names.setdefault(what, Counter())[name] += times

    def _example(self, what: str, text: str) -> None:
        if len(self._examples[what]) < SHOWN_EXAMPLES:
            self._examples[what].append(text)

    def _add_turns(self, dialogue: Dialogue) -> None:
        roles = Counter(message.role for message in dialogue.messages)
        for role, times in roles.items():
            self._name("messages", role, times)
        self._count("user_turns", roles["user"])
        self._count("assistant_turns", roles["assistant"])
        self._count("characters", _rounded(sum(len(message.content) for message in dialogue.messages)))
        trail = Trail()
        for message in dialogue.messages:
            trail.take(message)
            if message.tool_calls:
                self._count("calls_per_turn", len(message.tool_calls))
            if not message.train:
                self._name("marks", "untrained")
            if message.role == "tool" and _is_error(message.content):
                self._name("marks", "failed")
            for call in message.tool_calls:
                self._name("tools_called", call.name)
                for value in call.arguments.values():
                    self._name("argument_types", type_of(value))
                self._arguments.update(argument_entries(call))
        self._count("calls", sum(len(message.tool_calls) for message in dialogue.messages))
        self._count("depth", trail.depth)
        self._names.setdefault("argument_origins", Counter()).update(trail.origins)

    def _add_tools(self, dialogue: Dialogue) -> None:
        self._count("tools_listed", len(dialogue.tools))
        for tool in dialogue.tools:
            self._tools.add(JSON.encode(function_of(tool)))

    def _add_words(self, dialogue: Dialogue) -> None:
        for message in dialogue.messages:
            if message.role != "user" or self._words >= NGRAM_WORDS:
                continue
            words = WORD.findall(message.content.lower())[: NGRAM_WORDS - self._words]
            self._words += len(words)
            for n, (seen, count) in self._ngrams.items():
                grams = [hash(tuple(words[at : at + n])) for at in range(len(words) - n + 1)]
                seen.update(grams)
                count.append(len(grams))

    def _add_repeats(self, dialogue: Dialogue) -> None:
        digest = content_hash(dialogue)
        if digest in self._hashes:
            self._name("marks", "duplicate")
        self._hashes.add(digest)
        found = self._near.find_or_add(len(self._ids) - 1, said_and_called(dialogue))
        if found:
            self._name("marks", "near")
            self._example("near", f"{dialogue.id} and {self._ids[found[0]]} ({found[1]:.0%})")

    def _sample(self, dialogue: Dialogue) -> None:
        """Keep each dialogue with the same chance, whatever their number."""
        place = len(self._ids) - 1 if len(self._ids) <= SHOWN_ROWS else self._rng.randrange(len(self._ids))
        if place < SHOWN_ROWS:
            self._rows[place : place + 1] = [outline(dialogue)]

    def _encode_waiting(self) -> None:
        if self._count_tokens is None:
            return
        for tokens in self._count_tokens(self._waiting):
            if tokens.rejected is not None:
                self._name("not_encoded", tokens.rejected)
                continue
            self._names.setdefault("tokens", Counter()).update(tokens.by_kind)
            self._count("tokens_per_dialogue", _rounded(sum(tokens.by_kind.values())))
        self._waiting.clear()

    def description(self, path: str, source: str, quarantine: Quarantine) -> Description:
        """The counts so far."""
        self._encode_waiting()
        histogram = {name: dict(sorted(found.items())) for name, found in self._counts.items()}
        names = {name: dict(found.most_common()) for name, found in self._names.items()}
        marks, per_turn = self._names.get("marks", Counter()), self._counts.get("calls_per_turn", Counter())
        return Description(
            file=path,
            source=source,
            read=quarantine.read,
            rejected=dict(quarantine.by_reason.most_common()),
            rejected_examples=tuple(list(quarantine.examples.values())[:SHOWN_EXAMPLES]),
            dialogues=len(self._ids),
            messages=names.get("messages", {}),
            user_turns=histogram.get("user_turns", {}),
            assistant_turns=histogram.get("assistant_turns", {}),
            untrained_turns=marks["untrained"],
            system_prompts=names.get("messages", {}).get("system", 0),
            calls=histogram.get("calls", {}),
            calls_per_turn=histogram.get("calls_per_turn", {}),
            parallel_share=1 - per_turn[1] / per_turn.total() if per_turn else 0.0,
            depth=histogram.get("depth", {}),
            failed_results=marks["failed"],
            tools_listed=histogram.get("tools_listed", {}),
            distinct_tools=len(self._tools),
            tools_called=names.get("tools_called", {}),
            tool_entropy=entropy(self._names.get("tools_called", Counter()).values()),
            argument_types=names.get("argument_types", {}),
            argument_origins=names.get("argument_origins", {}),
            distinct_arguments=len(self._arguments),
            argument_entropy=entropy(self._arguments.values()),
            characters=histogram.get("characters", {}),
            distinct_ngrams={n: len(seen) / sum(count) for n, (seen, count) in self._ngrams.items() if sum(count)},
            duplicates=marks["duplicate"],
            near_duplicates=marks["near"],
            near_examples=tuple(self._examples["near"]),
            tokens=names.get("tokens", {}) if self._count_tokens else None,
            tokens_per_dialogue=histogram.get("tokens_per_dialogue", {}) if self._count_tokens else None,
            not_encoded=names.get("not_encoded", {}),
            contaminated=self._contaminated(),
            contaminated_examples=tuple(self._examples["contaminated"]),
            rows=tuple(self._rows),
        )

    def _contaminated(self) -> dict[str, int] | None:
        if self._contamination is None:
            return None
        return {name: self._names.get("contaminated", Counter())[name] for name in self._contamination.items}


def said_and_called(dialogue: Dialogue) -> str:
    """What users say and what is called, in order: without system prompt, tools, thoughts, results and answers."""
    parts: list[str] = []
    for message in dialogue.messages:
        parts += [message.content] if message.role == "user" else []
        parts += [f"{call.name} {JSON.encode(call.arguments).decode()}" for call in message.tool_calls]
    return "\n".join(parts)


def entropy(counts: Iterable[int]) -> float:
    """In bits; 0 for nothing."""
    values = list(counts)
    total = sum(values)
    return -sum(value / total * math.log2(value / total) for value in values) + 0.0 if total else 0.0


def outline(dialogue: Dialogue, width: int = 160) -> str:
    """A dialogue in a few lines: its first SHOWN_TURNS messages, each cut to `width` characters."""
    lines = [dialogue.id]
    for message in dialogue.messages[:SHOWN_TURNS]:
        calls = "; ".join(f"{call.name}({JSON.encode(call.arguments).decode()})" for call in message.tool_calls)
        text = " ".join(f"{message.content} {calls}".split())
        mark = "" if message.train else " (untrained)"
        lines.append(f"{message.role}{mark}: {text[:width]}{'…' if len(text) > width else ''}")
    if len(dialogue.messages) > SHOWN_TURNS:
        lines.append(f"... {len(dialogue.messages) - SHOWN_TURNS:,} more messages")
    return "\n".join(lines)


def _is_error(content: str) -> bool:
    start = content.lstrip()[:40].casefold()
    return start.startswith("error") or start.startswith('{"error"')


def _rounded(length: int) -> int:
    """A length to two digits, so that a histogram of lengths stays small."""
    step = 10 ** max(0, len(str(length)) - 2)
    return length // step * step
