"""What came of the rows at each stage: taken, made, rejected by reason with examples, tokens; as JSON and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from data_prep.synth.endpoint.ask import Asked
from data_prep.synth.endpoint.client import Budget

EXAMPLES = 3


class StageCounts:
    """Counts of one stage."""

    def __init__(self) -> None:
        self.accepted = self.made = self.unfinished = 0
        self.rejected: Counter[str] = Counter()
        self.discarded: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[tuple[int, ...], str, str]]] = {}
        self.requests = self.prompt_tokens = self.new_tokens = 0


class Funnel:
    """Counts of all stages, in their order; `changed` is called after every row, for a progress line."""

    def __init__(self, stages: Sequence[str], budget: Budget, changed: Callable[[str], None] = lambda stage: None):
        self.stages = {name: StageCounts() for name in stages}
        self._budget = budget
        self._changed = changed

    def asked(self, stage: str, asked: Sequence[Asked]) -> None:
        """Replies that a stage used."""
        counts = self.stages[stage]
        counts.requests += len(asked)
        counts.prompt_tokens += sum(one.prompt_tokens for one in asked)
        counts.new_tokens += sum(one.new_tokens for one in asked)

    def accepted(self, stage: str, made: int) -> None:
        """A row from which `made` rows came."""
        self.stages[stage].accepted += 1
        self.stages[stage].made += made
        self._changed(stage)

    def rejected(self, stage: str, path: tuple[int, ...], seed: str, code: str, message: str) -> None:
        """A row that goes no further; the first rows of each reason are kept as examples, whenever they came."""
        counts = self.stages[stage]
        counts.rejected[code] += 1
        examples = counts.examples.setdefault(code, [])
        examples.append((path, seed, message))
        examples.sort()
        del examples[EXAMPLES:]
        self._changed(stage)

    def discarded(self, stage: str, codes: Sequence[str]) -> None:
        """Samples that were not good enough, where another one may have been."""
        self.stages[stage].discarded.update(codes)

    def unfinished(self, stage: str) -> None:
        """A row that the budget did not reach."""
        self.stages[stage].unfinished += 1

    def line(self, stage: str) -> str:
        """A stage's counts in short."""
        counts = self.stages[stage]
        cost = self._budget.cost(counts.prompt_tokens, counts.new_tokens)
        return (
            f"{counts.accepted:,} accepted, {counts.rejected.total():,} rejected, "
            f"{counts.prompt_tokens + counts.new_tokens:,} tokens, cost {cost:.2f}"
        )

    def report(self) -> list[dict[str, Any]]:
        """One entry for each stage."""
        return [
            {
                "stage": name,
                "taken": counts.accepted + counts.rejected.total() + counts.unfinished,
                "accepted": counts.accepted,
                "made": counts.made,
                "rejected": dict(sorted(counts.rejected.items())),
                "discarded": dict(sorted(counts.discarded.items())),
                "unfinished": counts.unfinished,
                "examples": {
                    code: [
                        {"row": ".".join(map(str, path)), "seed": seed, "message": message}
                        for path, seed, message in examples
                    ]
                    for code, examples in sorted(counts.examples.items())
                },
                "requests": counts.requests,
                "prompt_tokens": counts.prompt_tokens,
                "new_tokens": counts.new_tokens,
                "cost": round(self._budget.cost(counts.prompt_tokens, counts.new_tokens), 6),
            }
            for name, counts in self.stages.items()
        ]


def to_text(report: dict[str, Any]) -> str:
    """The run report to read."""
    lines = [f"{'stage':<22}{'taken':>8}{'rejected':>10}{'made':>8}{'requests':>10}{'tokens':>11}{'cost':>10}"]
    for entry in report["funnel"]:
        rejected = sum(entry["rejected"].values())
        tokens = entry["prompt_tokens"] + entry["new_tokens"]
        lines.append(
            f"{entry['stage']:<22}{entry['taken']:>8,}{rejected:>10,}{entry['made']:>8,}{entry['requests']:>10,}"
            f"{tokens:>11,}{entry['cost']:>10.4f}"
        )
    lines.append("")
    for entry in report["funnel"]:
        for code, count in entry["rejected"].items():
            lines.append(f"{entry['stage']}: {code} {count:,}")
            lines += [f"    row {one['row']} from {one['seed']}: {one['message']}" for one in entry["examples"][code]]
        lines += [f"{entry['stage']}: sample discarded, {code} {n:,}" for code, n in entry["discarded"].items()]
    sent = report["sent"]
    lines += [
        "",
        f"rows {report['rows']:,} of {report['wanted']:,}" + (f"; {report['stopped']}" if report["stopped"] else ""),
        f"requests {sent['sendings']:,} sent over {sent['runs']} runs, {sent['repeats']} of them repeats after a kill, "
        f"a cut connection or a timeout, {sent['retries']} retries after a refusal such as 429",
    ]
    return "\n".join(lines) + "\n"
