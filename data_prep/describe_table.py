"""Descriptions to read, one column a file: `table([a, b])` -> [Section("Calls", [("calls", ["240", "31"])]), ...]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from data_prep.describe import NGRAM_WORDS, RUN_WORDS, SHOWN_TOOLS, Description, Histogram


class Section(NamedTuple):
    """Rows under one heading: (label, one cell a file)."""

    title: str
    rows: list[tuple[str, list[str]]]


class Plot(NamedTuple):
    """Bars: for each label, and each file, the share (0 to 1) of what is counted."""

    title: str
    labels: list[str]
    shares: list[list[float]]  # one list a file


Show = Callable[[Description], str]
SECTIONS: dict[str, dict[str, Show]] = {
    "Rows": {
        "source": lambda d: d.source,
        "rows read": lambda d: f"{d.read:,}",
        "rejected": lambda d: names(d.rejected) or "none",
        "the first of each reason": lambda d: "; ".join(d.rejected_examples),
        "dialogues": lambda d: f"{d.dialogues:,}",
        "characters a dialogue": lambda d: spread(d.characters),
    },
    "Turns": {
        "messages": lambda d: names(d.messages),
        "user turns": lambda d: spread(d.user_turns),
        "assistant turns": lambda d: spread(d.assistant_turns),
        "untrained turns": lambda d: f"{d.untrained_turns:,}",
    },
    "Calls": {
        "calls a dialogue": lambda d: spread(d.calls),
        "calls a turn that calls": lambda d: spread(d.calls_per_turn),
        "of these turns, parallel": lambda d: f"{d.parallel_share:.1%}" if d.calls_per_turn else "",
        "chain depth": lambda d: spread(d.depth) if d.calls_per_turn else "",
        "results that are errors": lambda d: f"{d.failed_results:,}" if d.calls_per_turn else "",
        "argument types": lambda d: shares(d.argument_types),
        "arguments from": lambda d: shares(d.argument_origins),
    },
    "Tools": {
        "listed a dialogue": lambda d: spread(d.tools_listed) if d.distinct_tools else "",
        "different definitions": lambda d: f"{d.distinct_tools:,}" if d.distinct_tools else "",
        "different functions called": lambda d: f"{len(d.tools_called):,}" if d.tools_called else "",
        "called most": lambda d: names(dict(list(d.tools_called.items())[:SHOWN_TOOLS])),
    },
    "Diversity": {
        "entropy of functions called, bits": lambda d: f"{d.tool_entropy:.2f}" if d.tools_called else "",
        "different arguments": lambda d: of_all(d.distinct_arguments, d.argument_types),
        "entropy of arguments, bits": lambda d: f"{d.argument_entropy:.2f}" if d.argument_types else "",
        f"distinct n-grams, first {NGRAM_WORDS:,} user words": lambda d: ", ".join(
            f"{n}: {share:.1%}" for n, share in d.distinct_ngrams.items()
        ),
        "duplicates": lambda d: counted(d.duplicates, d.dialogues),
        f"near duplicates, runs of {RUN_WORDS} words": lambda d: counted(d.near_duplicates, d.dialogues),
        "for instance": lambda d: "; ".join(d.near_examples),
    },
    "Tokens": {
        "by kind": lambda d: shares(d.tokens) if d.tokens is not None else "",
        "tokens a dialogue": lambda d: spread(d.tokens_per_dialogue) if d.tokens_per_dialogue is not None else "",
        "not encoded": lambda d: names(d.not_encoded),
    },
    "Contamination": {
        "dialogues with evaluation text": lambda d: names(d.contaminated) if d.contaminated is not None else "",
        "such as": lambda d: "; ".join(d.contaminated_examples),
    },
}
HISTOGRAMS: dict[str, Callable[[Description], Histogram]] = {
    "user turns a dialogue": lambda d: d.user_turns,
    "assistant turns a dialogue": lambda d: d.assistant_turns,
    "calls a dialogue": lambda d: d.calls,
    "calls a turn that calls": lambda d: d.calls_per_turn,
    "chain depth": lambda d: d.depth,
    "tools listed": lambda d: d.tools_listed,
    "characters a dialogue": lambda d: d.characters,
    "tokens a dialogue": lambda d: d.tokens_per_dialogue or {},
}
NAMED: dict[str, Callable[[Description], dict[str, int]]] = {
    "argument types": lambda d: d.argument_types,
    "arguments from": lambda d: d.argument_origins,
    "functions called most": lambda d: d.tools_called,
    "tokens by kind": lambda d: d.tokens or {},
}
MOST_BARS = 12


def table(described: Sequence[Description]) -> list[Section]:
    """The sections, without the rows that are empty for every file."""
    sections = []
    for title, rows in SECTIONS.items():
        cells = [(label, [show(one) for one in described]) for label, show in rows.items()]
        filled = [(label, found) for label, found in cells if any(found)]
        sections += [Section(title, filled)] if filled else []
    return sections


def plots(described: Sequence[Description]) -> list[Plot]:
    """The histograms and shares that say something: those with more than one bar."""
    found = [_histogram(title, [pick(one) for one in described]) for title, pick in HISTOGRAMS.items()]
    found += [_named(title, [pick(one) for one in described]) for title, pick in NAMED.items()]
    return [plot for plot in found if len(plot.labels) > 1]


def _histogram(title: str, counts: list[Histogram]) -> Plot:
    """A bar a value, or where they are too many, a bar a range; ranges double where values spread over decades."""
    values = sorted({value for one in counts for value in one})
    starts = values if len(values) <= MOST_BARS else _starts(values[0], values[-1])
    ends = [*starts[1:], values[-1] + 1] if values else []
    ranges = list(zip(starts, ends, strict=True))
    labels = [f"{a:,}" if starts is values or b == a + 1 else f"{a:,}-{b - 1:,}" for a, b in ranges]
    sums = [[sum(times for value, times in one.items() if a <= value < b) for a, b in ranges] for one in counts]
    return Plot(title, labels, [[times / max(1, sum(one)) for times in one] for one in sums])


def _starts(low: int, high: int) -> list[int]:
    """Where up to MOST_BARS ranges begin."""
    if high > 20 * max(low, 1):
        return sorted({low, *(high >> at for at in range(1, MOST_BARS) if high >> at > low)})
    return sorted({low + (high - low) * at // MOST_BARS for at in range(MOST_BARS)})


def _named(title: str, counts: list[dict[str, int]]) -> Plot:
    total: dict[str, float] = {}
    for one in counts:
        for name, times in one.items():
            total[name] = total.get(name, 0) + times / sum(one.values())
    names = sorted(total, key=lambda name: -total[name])[:MOST_BARS]
    return Plot(title, names, [[one.get(name, 0) / max(1, sum(one.values())) for name in names] for one in counts])


def spread(counts: Histogram) -> str:
    """`mean 3.6, median 3, 5-95 %: 2-7, at most 12`."""
    total = sum(counts.values())
    if not total:
        return ""
    mean = sum(value * times for value, times in counts.items()) / total
    low, median, high = (quantile(counts, share) for share in (0.05, 0.5, 0.95))
    return f"mean {mean:,.1f}, median {median:,}, 5-95 %: {low:,}-{high:,}, at most {max(counts):,}"


def quantile(counts: Histogram, share: float) -> int:
    """The least value that this share of what is counted does not exceed."""
    below, total = 0, sum(counts.values())
    for value, times in sorted(counts.items()):
        below += times
        if below >= share * total:
            return value
    return max(counts)


def names(counts: dict[str, int]) -> str:
    """`user 1,000, tool 2,400`."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def shares(counts: dict[str, int]) -> str:
    """`string 71 %, integer 29 %`."""
    total = sum(counts.values())
    return ", ".join(f"{name} {count / total:.1%}" for name, count in counts.items())


def of_all(count: int, counts: dict[str, int]) -> str:
    """`676 of 2,414`."""
    return f"{count:,} of {sum(counts.values()):,}" if counts else ""


def counted(count: int, total: int) -> str:
    """`12 (0.12%)`."""
    return f"{count:,} ({count / max(1, total):.2%})"
