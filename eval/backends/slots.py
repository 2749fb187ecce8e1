"""Key/value caches for generation: one long-lived buffer of rows that finish and are refilled at different times.

    row 0   . . . a a a a a | next column
    row 1   . b b b b b b b |
    row 2   . . . . . c c c |      every row ends at the same column, so one step writes one column for all

`DynamicCache` copies the whole cache at every token and cannot drop or refill a row; this writes in place. The layout
is that of left padding, so any attention that takes a 2-D mask works unchanged, sliding windows included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class Kept(NamedTuple):
    """The cached state of one token sequence: per layer keys and values, [1, heads, tokens, dimension]."""

    ids: list[int]
    layers: list[tuple[torch.Tensor, torch.Tensor]]

    def first(self, tokens: int) -> Kept:
        """Views of the state after the first `tokens` tokens."""
        return Kept(self.ids[:tokens], [(keys[:, :, :tokens], values[:, :, :tokens]) for keys, values in self.layers])


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values in buffers of [rows, heads, columns, dimension]; `length` columns are used."""

    is_sliding = False  # every token is kept; a sliding window is cut by the mask
    is_croppable = True

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        self.columns = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate for `columns` tokens, or for as many as come at once where that is more."""
        self.columns = max(self.columns, key_states.shape[2])
        self.keys = _buffer(key_states, self.columns)
        self.values = _buffer(value_states, self.columns)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append a column per new token; returns the used part, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self.columns:
            self.reserve(end)
        rows = key_states.shape[0]
        self.keys[:rows, :, self.length : end] = key_states
        self.values[:rows, :, self.length : end] = value_states
        self.length = end
        return self.keys[:rows, :, :end], self.values[:rows, :, :end]

    def reserve(self, columns: int) -> None:
        """Make room for this many columns."""
        if self.is_initialized and columns > self.columns:
            self.keys, self.values = (_grown(buffer, columns, self.length) for buffer in (self.keys, self.values))
        self.columns = max(self.columns, columns)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        self.length = 0


def _buffer(like: torch.Tensor, columns: int) -> torch.Tensor:
    rows, heads, _, dimension = like.shape
    # Zeros, not empty: masked columns are multiplied by a weight of 0, and 0 x NaN is NaN.
    return torch.zeros(rows, heads, columns, dimension, dtype=like.dtype, device=like.device)


def _grown(buffer: torch.Tensor, columns: int, used: int) -> torch.Tensor:
    grown = _buffer(buffer, columns)
    grown[:, :, :used] = buffer[:, :, :used]
    return grown


class PrefixCache:
    """The state of one sequence, extended from its longest common prefix with the last one.

    Prompts of one dialogue share the system prompt, the tool list and the history: sorted next to each other, only
    what differs is computed.
    """

    def __init__(self) -> None:
        self.cache = Cache(layer_class_to_replicate=SlotLayer)
        self.ids: list[int] = []

    def rewind(self, ids: Sequence[int], kept: Kept | None = None, most: int | None = None) -> int:
        """Keep what `ids` shares with the held sequence, or with `kept` where that is more; returns the shared length.

        At most `most` tokens, and all but the last of `ids`: the logits of those behind are wanted.
        """
        shared = common_prefix(self.ids, ids)
        if kept is not None and common_prefix(kept.ids, ids) > shared:
            shared = common_prefix(kept.ids, ids)
            self._load(kept)
        shared = min(shared, len(ids) - 1 if most is None else most)
        for layer in self.cache.layers:
            layer.length = shared
        self.ids = list(ids)
        return shared

    def _load(self, kept: Kept) -> None:
        for layer, (keys, values) in zip(self.cache.layers, kept.layers, strict=True):
            layer.length = 0
            layer.update(keys, values)

    def keep(self) -> Kept:
        """Views of the whole held sequence; copy them before the next `rewind`."""
        layers = [(layer.keys[:, :, : layer.length], layer.values[:, :, : layer.length]) for layer in self.cache.layers]
        return Kept(self.ids, layers)

    def bytes_per_token(self) -> int:
        """Size of one cached token over all layers."""
        return sum(
            tensor[:, :, :1].numel() * tensor.element_size()
            for layer in self.cache.layers
            for tensor in (layer.keys, layer.values)
        )


class SlotCache:
    """The batch being decoded. Rows 0..active-1 are live; `start[row]` is the first column that belongs to the row.

    Buffers hold `rows` rows. An empty batch begins at column `longest`, so that prompts up to that many tokens come in
    without moving what is there; memory is touched, hence taken on a CPU, only where rows come to lie.
    """

    SLACK = 128  # columns beyond the longest prompt and its answer: steps until the rows are moved back to the left

    def __init__(self, like: Kept, rows: int, longest: int, room: int):
        self.longest = max(longest, like.layers[0][0].shape[2])
        self.cache = Cache(layers=[SlotLayer() for _ in like.layers])
        for layer, (keys, values) in zip(self.cache.layers, like.layers, strict=True):
            layer.columns = self.longest + room + self.SLACK
            layer.lazy_initialization(*(part[:, :, :0].expand(rows, -1, -1, -1) for part in (keys, values)))
            layer.length = self.longest
        self.start: list[int] = []
        self.device = like.layers[0][0].device

    @property
    def active(self) -> int:
        """How many rows are live."""
        return len(self.start)

    @property
    def rows(self) -> int:
        """How many rows there is room for."""
        return self.cache.layers[0].keys.shape[0]

    @property
    def columns(self) -> int:
        """How many tokens a row has room for."""
        return self.cache.layers[0].columns

    @property
    def length(self) -> int:
        """The column that the next token of every row goes to."""
        return self.cache.layers[0].length

    def add(self, kept: Kept, room: int) -> None:
        """A new last row holding this sequence, with `room` columns free behind it."""
        tokens = kept.layers[0][0].shape[2]
        if self.length < tokens or self.length + room > self.columns:
            used = max([tokens, *(self.length - start for start in self.start)])
            self._align(used, used + room)
        row, begin = self.active, self.length - tokens
        for layer, (keys, values) in zip(self.cache.layers, kept.layers, strict=True):
            layer.keys[row, :, begin : self.length] = keys[0]
            layer.values[row, :, begin : self.length] = values[0]
        self.start.append(begin)

    def _align(self, length: int, columns: int) -> None:
        """Move all rows so that they end at column `length`: dead columns on the left go, missing ones come."""
        shift = length - self.length
        for layer in self.cache.layers:
            old_keys, old_values, end = layer.keys, layer.values, layer.length
            if columns > layer.columns:
                layer.reserve(columns + self.SLACK)
            for new, old in ((layer.keys, old_keys), (layer.values, old_values)):
                for row, start in enumerate(self.start):
                    new[row, :, start + shift : end + shift] = old[row, :, start:end].clone()
            layer.length = length
        self.start = [start + shift for start in self.start]

    def keep(self, row: int, ids: list[int]) -> Kept:
        """A copy of one row's state."""
        start, end = self.start[row], self.length
        layers = [
            (layer.keys[row : row + 1, :, start:end].clone(), layer.values[row : row + 1, :, start:end].clone())
            for layer in self.cache.layers
        ]
        return Kept(ids, layers)

    def remove(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        last = self.active - 1
        if row != last:
            start = self.start[last]
            for layer in self.cache.layers:
                layer.keys[row, :, start : self.length] = layer.keys[last, :, start : self.length]
                layer.values[row, :, start : self.length] = layer.values[last, :, start : self.length]
            self.start[row] = start
        self.start.pop()
        if not self.start:
            for layer in self.cache.layers:
                layer.length = self.longest

    def mask(self) -> torch.Tensor:
        """Which columns each row attends to at the next step, that step's own included: bool [active, length + 1]."""
        columns = torch.arange(self.length + 1, device=self.device)
        return columns[None, :] >= torch.tensor(self.start, device=self.device)[:, None]

    def positions(self) -> torch.Tensor:
        """Position ids of the next token, [active, 1]."""
        return (self.length - torch.tensor(self.start, device=self.device))[:, None]


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many leading ids are equal."""
    limit = min(len(left), len(right))
    if left[:limit] == right[:limit]:
        return limit
    return next(index for index in range(limit) if left[index] != right[index])
