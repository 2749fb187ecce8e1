"""Loss and token accuracy by kind and by source, added up on the device while training goes on.

{"loss_thought": 0.9, "loss_call": 0.3, "loss_call_name": 0.1, "loss_call_arguments": 0.4, "accuracy_call_name": 0.97,
 "loss_source_button": 0.5, "accuracy_source_button": 0.84, "accuracy": 0.83, ...}

A call's name and arguments are parts of its tokens, found in its text. The rest of a call is markup. The losses by kind
are never weighted, so they say how well the model knows each kind whatever `loss_weights` asks of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from data_prep.encode import CALL, KINDS
from data_prep.samples import UNTRAINED

GROUPS = (*KINDS, "call_name", "call_arguments")
NAME, ARGUMENTS = len(KINDS), len(KINDS) + 1
ARGUMENT_KEYS = ("arguments", "parameters")
DECODER = json.JSONDecoder()
CACHED_CALLS = 65_536


class Watch:
    """Sorts the trained tokens of a batch into groups, one for each source and kind, and adds up what is known of each.

    `sums` (groups, 3) float64: summed loss, right tokens, tokens; of this process, since it was last taken.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, sources: Sequence[str], device: torch.device):
        self.tokenizer = tokenizer
        self.sources = list(sources)
        self.sums = torch.zeros(len(self.sources) * len(GROUPS), 3, dtype=torch.float64, device=device)
        self._kinds_of_call = lru_cache(maxsize=CACHED_CALLS)(self._split_call)  # an epoch later the same calls return

    def groups(self, batch: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Tensor:
        """The group of each trained token (trained tokens,) int64 of what `collate` made of the rows, in its order."""
        ids, kinds = batch["input_ids"][0].numpy(), batch["kinds"][0].numpy().copy()
        is_call = np.concatenate([[0], kinds == CALL, [0]])
        for start, end in np.flatnonzero(np.diff(is_call)).reshape(-1, 2):
            kinds[start:end] = self._kinds_of_call(ids[start:end].tobytes())
        sources = np.repeat(self._sources(batch["runs"], rows), [length for run in batch["runs"] for length in run])
        trained = (batch["labels"][0, 1:] != UNTRAINED).nonzero().flatten() + 1
        return torch.from_numpy(sources * len(GROUPS) + kinds)[trained]

    def add(self, groups: Tensor, losses: Tensor, right: Tensor) -> None:
        """Count a batch's trained tokens: their groups, losses, and whether the likeliest token was the right one."""
        values = torch.stack(
            [losses.detach().double(), right.double(), torch.ones_like(losses, dtype=torch.float64)], 1
        )
        self.sums.index_add_(0, groups, values)

    def take(self) -> Tensor:
        """The sums so far, which start anew."""
        taken, self.sums = self.sums, torch.zeros_like(self.sums)
        return taken

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """Means by name from the sums of all processes; a kind or source without a token has none."""
        by_source = sums.cpu().view(len(self.sources), len(GROUPS), 3)
        by_kind = dict(zip(GROUPS, by_source.sum(0), strict=True))
        by_kind["call"] = by_kind["call"] + by_kind["call_name"] + by_kind["call_arguments"]
        named = {f"_{kind}": sums for kind, sums in by_kind.items()}
        if len(self.sources) > 1:
            named |= {f"_source_{source}": sums.sum(0) for source, sums in zip(self.sources, by_source, strict=True)}
        means = {name: (sums / sums[2]).tolist() for name, sums in named.items() if sums[2]}
        right, tokens = by_source.sum((0, 1))[1:].tolist()
        overall = {"accuracy": right / tokens} if tokens else {}
        return {
            **overall,
            **{f"loss{name}": loss for name, (loss, _, _) in means.items()},
            **{f"accuracy{name}": accuracy for name, (_, accuracy, _) in means.items()},
        }

    def _sources(self, runs: Sequence[Sequence[int]], rows: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
        """The source number of each piece of the runs. A shared beginning is context, whose source does not matter."""
        of_dialogues = iter([number for row in rows for number in self._row_sources(row)])
        numbers = []
        for run in runs:
            branches = [next(of_dialogues) for _ in run[1:]] or [next(of_dialogues)]
            numbers += branches if len(run) == 1 else [branches[0], *branches]
        return np.array(numbers, dtype=np.int64)

    def _row_sources(self, row: Mapping[str, Any]) -> list[int]:
        """The source of each dialogue of a row, one name or a name for each; a filler has none, and gets 0."""
        names = row["source"].split() or self.sources[:1]
        of_each = names if len(names) == len(row["seq_lengths"]) else names[:1] * len(row["seq_lengths"])
        return [self.sources.index(name) for name in of_each]

    def _split_call(self, ids: bytes) -> NDArray[np.int64]:
        """The kinds of a call's tokens, given as the bytes of int64."""
        tokens = np.frombuffer(ids, dtype=np.int64).tolist()
        text, ends = _text_and_ends(self.tokenizer, tokens)
        kinds = np.full(len(tokens), CALL, dtype=np.int64)
        for start, end, kind in call_parts(text):
            # A token that touches two parts is of the later one, which holds its last character.
            kinds[[index for index, last in enumerate(ends) if start < last <= end]] = kind
        return kinds


def call_parts(text: str) -> list[tuple[int, int, int]]:
    """(start, end, NAME or ARGUMENTS) in the text of one turn's calls, without the quotes around a name.

    A call is a JSON object with a name and arguments, or one that holds such an object, as the templates of Llama,
    Qwen, Mistral and Hermes, and BUTTON, write them. Calls in other forms are not divided.
    """
    found, start = [], 0
    while (start := text.find("{", start)) >= 0:
        try:
            _, end = DECODER.raw_decode(text, start)
        except ValueError:
            start += 1
            continue
        found += _parts_of_object(text, start)
        start = end
    return found


def _parts_of_object(text: str, start: int) -> list[tuple[int, int, int]]:
    members = _members(text, start)
    name = members.get("name")
    arguments = next((members[key] for key in ARGUMENT_KEYS if key in members), None)
    if name and text[name[0]] == '"':
        parts = [(name[0] + 1, name[1] - 1, NAME)]
        return [*parts, (*arguments, ARGUMENTS)] if arguments else parts
    inner = members.get("function")
    return _parts_of_object(text, inner[0]) if inner and text[inner[0]] == "{" else []


def _members(text: str, start: int) -> dict[str, tuple[int, int]]:
    """Where the values of the members of the JSON object at `start` begin and end."""
    members = {}
    cursor = _skip(text, start + 1, "")
    while text[cursor] != "}":
        key, cursor = DECODER.raw_decode(text, cursor)
        begin = _skip(text, cursor, ":")
        _, end = DECODER.raw_decode(text, begin)
        members[key] = (begin, end)
        cursor = _skip(text, end, ",")
    return members


def _skip(text: str, cursor: int, separator: str) -> int:
    """Past white space, the separator if it is there, and white space."""
    length = len(text)
    while cursor < length and (text[cursor].isspace() or text[cursor] == separator):
        cursor += 1
    return cursor


def _text_and_ends(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> tuple[str, list[int]]:
    """The tokens' text, and where in it each token ends."""
    text = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    again = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    if again["input_ids"] == tokens:
        return text, [end for _, end in again["offset_mapping"]]
    # Rare: text that is cut otherwise when it stands alone. Decoding ever more of it costs its square.
    ends = [
        len(tokenizer.decode(tokens[:count], skip_special_tokens=False, clean_up_tokenization_spaces=False))
        for count in range(len(tokens) + 1)
    ]
    return text, [max(pair) for pair in pairwise(ends)]


def sources_of(*columns: Sequence[str]) -> list[str]:
    """The names in `source` columns of built data, in order; at least one, for rows to be counted under."""
    return sorted({name for column in columns for text in column for name in text.split()}) or ["none"]
