"""Selected dialogues to stored samples, by the recipe's policies on what is too long and what trains nothing.

    over_length: drop             a dialogue with a sample over max_length goes to the quarantine (`over_length`)
    over_length: truncate_turns   whole turns are cut off its end until it fits and ends in a trained turn
    over_length: error            the build fails

No turn is ever cut through. Under `only_last_turn` the last turn is the only trained one: truncate_turns can cut off no
more than what follows it, and a dialogue that is too long up to there goes to the quarantine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from data_prep.build_dir import BuildError
from data_prep.dialogue import Dialogue, assistant_turns, last_turn_only
from data_prep.encode import Encoded, Encoder, Proven, RejectedDialogue
from data_prep.formats import KIND_OF_PART
from recipes import Recipe

CHUNK_DIALOGUES = 256


def loaded(model: str, load: Callable[[], Encoder]) -> Encoder:
    """The encoder that `load` gives. Raises BuildError, naming the model, where its tokenizer or template fails."""
    try:
        return load()
    except (OSError, ValueError) as error:
        raise BuildError(f"no encoder for the model {model!r}: {error}") from error


class Tally(msgspec.Struct):
    """What happened to the dialogues of a build; `laws` counts those proven to hold each law of data_prep/proofs.py."""

    truncated_dialogues: int = 0
    truncated_turns: int = 0
    untrained_samples: int = 0
    control_text_dialogues: int = 0
    laws: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count the other's dialogues too."""
        self.truncated_dialogues += other.truncated_dialogues
        self.truncated_turns += other.truncated_turns
        self.untrained_samples += other.untrained_samples
        self.control_text_dialogues += other.control_text_dialogues
        self.laws.update(other.laws)


class Refused(NamedTuple):
    """A dialogue of a chunk, by its position there, and why it goes to the quarantine."""

    position: int
    code: str
    message: str


class Fitted(NamedTuple):
    """What a chunk of dialogues became.

    `input_ids` int32 and `kinds` int8 hold the samples end to end; of each sample `lengths` int64 says how many tokens
    it has and `positions` int64 whose it is; of each dialogue `messages` int64 says how many messages were encoded.
    """

    input_ids: NDArray[np.int32]
    kinds: NDArray[np.int8]
    lengths: NDArray[np.int64]
    positions: NDArray[np.int64]
    messages: NDArray[np.int64]
    refused: list[Refused]
    tally: Tally


class Fit:
    """Encodes dialogues by the recipe's policies; what it gives depends on each dialogue alone."""

    def __init__(self, recipe: Recipe, encoder: Encoder):
        self.recipe = recipe
        self.encoder = encoder
        self._parts = frozenset(KIND_OF_PART[part] for part in recipe.train_on)
        self._tally = Tally()

    def encode(self, dialogues: Sequence[Dialogue]) -> Fitted:
        """The samples of those that pass. Raises BuildError for `over_length: error`.

        `only_last_turn` says what is trained, as `train_on` does, and not what an evaluation of the held-out dialogues
        asks for: these keep their own `train` marks.
        """
        self._tally = Tally()
        samples: list[Encoded] = []
        positions: list[int] = []
        messages = np.zeros(len(dialogues), dtype=np.int64)
        refused: list[Refused] = []
        marked = [last_turn_only(whole) for whole in dialogues] if self.recipe.only_last_turn else dialogues
        for position, (whole, result) in enumerate(zip(marked, self.encoder.prove_batch(marked), strict=True)):
            try:
                if isinstance(result, RejectedDialogue):
                    raise result
                dialogue, proven = self._fit(whole, result)
                found = self._trained(proven.samples)
            except RejectedDialogue as rejected:
                refused.append(Refused(position, rejected.code, rejected.message))
                continue
            if self.recipe.control_text == "plain" and self.encoder.control_text_in(dialogue) is not None:
                self._tally.control_text_dialogues += 1
            self._tally.laws.update(proven.laws)
            messages[position] = len(dialogue.messages)
            samples += found
            positions += [position] * len(found)
        return Fitted(
            np.concatenate([np.zeros(0, np.int32), *(np.array(sample.input_ids, np.int32) for sample in samples)]),
            np.frombuffer(b"".join(bytes(sample.kinds) for sample in samples), np.int8),
            np.array([len(sample.input_ids) for sample in samples], np.int64),
            np.array(positions, np.int64),
            messages,
            refused,
            self._tally,
        )

    def _trained(self, samples: list[Encoded]) -> list[Encoded]:
        """The samples with a trained token. Raises RejectedDialogue where there is none."""
        # A stop token is trained only beside a trained part, so the parts alone decide.
        good = [sample for sample in samples if not self._parts.isdisjoint(sample.kinds)]
        if not good:
            wanted = ", ".join(self.recipe.train_on)
            raise RejectedDialogue("no_trained_token", f"no token is of a part that train_on lists ({wanted})")
        self._tally.untrained_samples += len(samples) - len(good)
        return good

    def _fit(self, dialogue: Dialogue, proven: Proven) -> tuple[Dialogue, Proven]:
        """Apply the over_length policy. Raises RejectedDialogue or, for `error`, BuildError."""
        most, tokens = self.recipe.max_length, _longest(proven.samples)
        if tokens <= most:
            return dialogue, proven
        if self.recipe.over_length == "error":
            raise BuildError(
                f"{dialogue.id}: {tokens:,} tokens are over max_length {most:,}; the recipe says over_length: error: "
                "raise max_length, or set over_length to drop or truncate_turns"
            )
        if self.recipe.over_length == "drop":
            raise RejectedDialogue("over_length", f"{tokens:,} tokens, over max_length {most:,}")
        return self._truncate(dialogue, tokens)

    def _truncate(self, dialogue: Dialogue, tokens: int) -> tuple[Dialogue, Proven]:
        """Cut whole turns off the end; the longest head that fits and ends in a trained turn."""
        # A longer head never gives a shorter sample (each turn's sample stays), so the place can be bisected.
        ends = [index + 1 for index in assistant_turns(dialogue, trained_only=True)]
        best: tuple[Dialogue, Proven] | None = None
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            head = dialogue.before(ends[middle])
            proven = self.encoder.prove(head)
            if _longest(proven.samples) <= self.recipe.max_length:
                best, low = (head, proven), middle + 1
            else:
                high = middle
        if best is None:
            raise RejectedDialogue(
                "over_length",
                f"{tokens:,} tokens, and what leads up to and with its first trained turn is over max_length "
                f"{self.recipe.max_length:,} already",
            )
        self._tally.truncated_dialogues += 1
        self._tally.truncated_turns += len(dialogue.messages) - len(best[0].messages)
        return best


def _longest(samples: list[Encoded]) -> int:
    return max(len(sample.input_ids) for sample in samples)
