"""Selected dialogues to stored samples, by the recipe's policies on what is too long and what trains nothing.

    over_length: drop             a dialogue with a sample over max_length goes to the quarantine (`over_length`)
    over_length: truncate_turns   whole turns are cut off its end until it fits and ends in a trained turn
    over_length: error            the build fails

No turn is ever cut through. Under `only_last_turn` the last turn is the only trained one: truncate_turns can cut off no
more than what follows it, and a dialogue that is too long up to there goes to the quarantine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from data_prep.build_dir import BuildError
from data_prep.dialogue import Dialogue, assistant_turns, last_turn_only, write_jsonl
from data_prep.encode import Encoded, Encoder, Proven, RejectedDialogue
from data_prep.progress import progress
from data_prep.quarantine import Quarantine
from data_prep.rows import Rows, Selection
from data_prep.samples import KIND_OF_PART, SampleStore, StoredSamples
from recipes import Recipe

CHUNK_DIALOGUES = 256


def loaded(model: str, load: Callable[[], Encoder]) -> Encoder:
    """The encoder that `load` gives. Raises BuildError, naming the model, where its tokenizer or template fails."""
    try:
        return load()
    except (OSError, ValueError) as error:
        raise BuildError(f"no encoder for the model {model!r}: {error}") from error


class Encoding:
    """Encodes the selected dialogues once each, by the recipe's policies, and counts what happened to them."""

    def __init__(self, recipe: Recipe, encoder: Encoder, quarantine: Quarantine):
        self.recipe = recipe
        self.encoder = encoder
        self.quarantine = quarantine
        self._parts = frozenset(KIND_OF_PART[part] for part in recipe.train_on)
        self.truncated_dialogues = 0
        self.truncated_turns = 0
        self.untrained_samples = 0
        self.control_text_dialogues = 0
        self.laws: Counter[str] = Counter()  # law of data_prep/proofs.py -> dialogues proven to hold it

    def encode(self, chunk: Sequence[tuple[int, Dialogue]]) -> Iterator[tuple[int, Dialogue, list[Encoded]]]:
        """(number, dialogue as long as encoded, samples) of those that pass; the others go to the quarantine.

        The dialogue keeps the row's own `train` marks: `only_last_turn` says what is trained, as `train_on` does, and
        not what an evaluation of the held-out dialogues asks for.
        """
        marked = [last_turn_only(whole) if self.recipe.only_last_turn else whole for _, whole in chunk]
        results = self.encoder.prove_batch(marked)
        for (number, whole), trained, result in zip(chunk, marked, results, strict=True):
            try:
                if isinstance(result, RejectedDialogue):
                    raise result
                dialogue, proven = self._fit(trained, result)
                samples = self._trained(proven.samples)
            except RejectedDialogue as rejected:
                self.quarantine.reject(whole, rejected.code, rejected.message)
                continue
            if self.recipe.control_text == "plain" and self.encoder.control_text_in(dialogue) is not None:
                self.control_text_dialogues += 1
            self.laws.update(proven.laws)
            yield number, whole.before(len(dialogue.messages)), samples

    def _trained(self, samples: list[Encoded]) -> list[Encoded]:
        """The samples with a trained token. Raises RejectedDialogue where there is none."""
        # A stop token is trained only beside a trained part, so the parts alone decide.
        good = [sample for sample in samples if not self._parts.isdisjoint(sample.kinds)]
        if not good:
            wanted = ", ".join(self.recipe.train_on)
            raise RejectedDialogue("no_trained_token", f"no token is of a part that train_on lists ({wanted})")
        self.untrained_samples += len(samples) - len(good)
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
        self.truncated_dialogues += 1
        self.truncated_turns += len(dialogue.messages) - len(best[0].messages)
        return best


def _longest(samples: list[Encoded]) -> int:
    return max(len(sample.input_ids) for sample in samples)


def encode_all(work: Path, rows: Rows, selection: Selection, encoding: Encoding, held_out_path: Path) -> StoredSamples:
    """Encode every selected dialogue once, in the order read; write the held-out ones that pass to `held_out_path`."""
    wanted = np.union1d(selection.mixture, selection.held_out)
    held_out = frozenset(selection.held_out.tolist())
    kept_held_out: list[Dialogue] = []
    with SampleStore(work) as store, progress("encoding", total=wanted.size) as step:
        for begin in range(0, wanted.size, CHUNK_DIALOGUES):
            chunk = list(rows.read(wanted[begin : begin + CHUNK_DIALOGUES]))
            for number, dialogue, samples in encoding.encode(chunk):
                for sample in samples:
                    store.add(number, sample)
                if number in held_out:
                    kept_held_out.append(dialogue)
            step(len(chunk))
        stored = store.close()
    write_jsonl(str(held_out_path), kept_held_out)
    return stored
