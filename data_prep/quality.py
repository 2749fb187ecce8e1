"""Which checked dialogues a build takes: none that repeats another one, none with evaluation text in it.

    data quality: 3 duplicates (exact); 195 contaminated (gsm8k 191, mathchat 4; 5,319 items compared)

What is set aside here is good data that the recipe does not want, so `max_rejected` does not count it.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from data_prep.contamination import Contamination
from data_prep.dialogue import Dialogue
from data_prep.duplicates import Duplicates, ToolCounts
from data_prep.quarantine import Quarantine
from recipes import Recipe

EXAMPLES = 5


class QualityReport(msgspec.Struct, frozen=True):
    """Rows set aside. `evaluation_items` says how many items of each set were compared, `contaminated` how many rows
    met one of them, `examples` which passages the first of these share; `tools` is None unless deduplicate is near."""

    deduplicate: str
    duplicates: int
    near_duplicates: int
    evaluation_items: dict[str, int]
    contaminated: dict[str, int]
    examples: tuple[str, ...]
    tools: ToolCounts | None = None

    def line(self) -> str:
        """The counts in one line."""
        parts = ["duplicates not looked for"]
        if self.deduplicate != "none":
            near = f" and {self.near_duplicates:,} near ones" if self.deduplicate == "near" else ""
            parts = [f"{self.duplicates:,} duplicates{near} ({self.deduplicate})"]
        if self.tools is not None:
            parts.append(
                f"{self.tools.near_duplicates:,} of {self.tools.distinct:,} different tool definitions nearly repeat "
                "an earlier one (kept)"
            )
        if self.evaluation_items:
            by_set = "".join(f"{name} {count:,}, " for name, count in self.contaminated.items())
            by_set += f"{sum(self.evaluation_items.values()):,} items compared"
            parts.append(f"{sum(self.contaminated.values()):,} contaminated ({by_set})")
        else:
            parts.append("not compared with any evaluation set (decontaminate is empty)")
        return "data quality: " + "; ".join(parts)


class Quality:
    """Admits dialogues by the recipe's `deduplicate` and `decontaminate`. Raises EvaluationSetError when made."""

    def __init__(self, recipe: Recipe, quarantine: Quarantine):
        self._recipe = recipe
        self._quarantine = quarantine
        self._duplicates = Duplicates(recipe.deduplicate)
        self._contamination = Contamination(recipe.decontaminate) if recipe.decontaminate else None
        self._held_out = False
        self._contaminated: Counter[str] = Counter()
        self._examples: list[str] = []

    def begin_held_out(self) -> None:
        """The dialogues from here on are of `held_out_data`, which may be the evaluation set itself."""
        self._held_out = True
        self._duplicates.begin_held_out()

    def admits(self, dialogue: Dialogue, content_hash: str) -> bool:
        """Whether the build takes the dialogue; if not, it is in the quarantine."""
        match = self._contamination.find(dialogue) if self._contamination and not self._held_out else None
        if match is not None:
            self._contaminated[match.set_name] += 1
            if len(self._examples) < EXAMPLES:
                self._examples.append(f"{dialogue.id} {match.message()}")
            self._quarantine.reject(dialogue, "contaminated", match.message())
            return False
        duplicate = self._duplicates.find_or_add(dialogue, content_hash)
        if duplicate is not None:
            self._quarantine.reject(dialogue, duplicate.code, duplicate.message)
        return duplicate is None

    def report(self) -> QualityReport:
        """The counts so far."""
        found = self._quarantine.by_reason
        return QualityReport(
            deduplicate=self._recipe.deduplicate,
            duplicates=found["duplicate"],
            near_duplicates=found["near_duplicate"],
            evaluation_items=self._contamination.items if self._contamination else {},
            contaminated={name: self._contaminated[name] for name in self._recipe.decontaminate},
            examples=tuple(self._examples),
            tools=self._duplicates.tool_counts(),
        )
