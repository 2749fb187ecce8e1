"""Scenarios: extracted from seed dialogues, deduplicated, expanded.

"User: A recipe with rice? ..."  ->  "cooking with what is at home"  ->  "cooking for a party"
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from data_prep.synth.button.values import Scenario, ScenarioReply, Seed
from data_prep.synth.endpoint.ask import Ask, Rejected
from data_prep.synth.endpoint.prompts import Prompts

# Cosine of content words by their stems: the paper's embedding model and threshold are not published. Of character
# trigrams, tried first, "booking a kiln for a film" and "booking a cabin for a film" share 0.81.
SIMILAR = 0.8
_EMPTY = """a an and as at by for from her his in into is it its my of on or our out some somebody someone that the
    their this to up what when where which while with your"""
EMPTY_WORDS = frozenset(_EMPTY.split())
ENDING = re.compile(r"(?:ings?|e?d|e?s|e)$")


async def extract(prompts: Prompts, seed: Seed, ask: Ask) -> list[Scenario]:
    """The seed dialogue's scenario; asked once, whatever the round."""
    reply = await ask.json(prompts.fill("scenario", dialogue=seed.dialogue), ScenarioReply)
    return [Scenario(reply.scenario, seed.name, seed.round)]


async def expand(prompts: Prompts, scenario: Scenario, ask: Ask) -> list[Scenario]:
    """The scenario itself in round 0, another one in each later round: its action or its subject changed."""
    if scenario.round == 0:
        return [scenario]
    part = "action" if scenario.round % 2 else "subject"
    prompt = prompts.fill("expand", scenario=scenario.text, part=part, number=(scenario.round + 1) // 2)
    reply = await ask.json(prompt, ScenarioReply, sample=scenario.round)
    return [Scenario(reply.scenario, scenario.seed, scenario.round)]


class Deduplicate:
    """Rejects a scenario that is like an earlier one. Used twice: on the seeds' own scenarios, where a rejected seed's
    later rounds go too, and on the expanded ones."""

    def __init__(self, of_seeds: bool):
        self._of_seeds = of_seeds
        self._index = SimilarTexts()
        self._seeds: dict[str, Rejected | None] = {}

    async def __call__(self, scenarios: list[Scenario], ask: Ask) -> Sequence[Sequence[Scenario] | Rejected]:
        return [self._look(scenario) for scenario in scenarios]

    def _look(self, scenario: Scenario) -> Sequence[Scenario] | Rejected:
        if not self._of_seeds:
            return self._index.reject_similar(scenario.text) or [scenario]
        if scenario.seed not in self._seeds:
            self._seeds[scenario.seed] = self._index.reject_similar(scenario.text)
        return self._seeds[scenario.seed] or [scenario]


class SimilarTexts:
    """Short texts by their content words; an inverted list finds those that share any."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._holding: dict[str, list[tuple[int, float]]] = {}

    def reject_similar(self, text: str) -> Rejected | None:
        """A Rejected that names the first similar text; where there is none, the text is added."""
        weights = _unit(text)
        scores: Counter[int] = Counter()
        for stem, weight in weights.items():
            for number, other in self._holding.get(stem, ()):
                scores[number] += weight * other  # type: ignore[assignment]
        similar = min((number for number, score in scores.items() if score > SIMILAR - 1e-9), default=None)
        if similar is not None:
            return Rejected("duplicate_scenario", f"{text!r} is like {self._texts[similar]!r} ({scores[similar]:.2f})")
        for stem, weight in weights.items():
            self._holding.setdefault(stem, []).append((len(self._texts), weight))
        self._texts.append(text)
        return None


def _unit(text: str) -> dict[str, float]:
    """The stems of the text's content words, each once, with weights of length 1; all its words where it has none."""
    words = re.findall(r"\w+", text.lower())
    stems = {_stem(word) for word in words if word not in EMPTY_WORDS} or set(words)
    return dict.fromkeys(sorted(stems), len(stems) ** -0.5) if stems else {}


def _stem(word: str) -> str:
    """`book` for book, books, booked, booking; rough, and the same roughness for all."""
    stem = ENDING.sub("", word) if len(word) > 4 else word.removesuffix("s")
    return stem[:-1] if stem[-2:-1] == stem[-1:] else stem
