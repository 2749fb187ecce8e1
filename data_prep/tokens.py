"""Rendered text to token ids with their places in the text, and back.

tokens = TextTokens(tokenizer, lead="<|im_end|>", breaks=False).encode(["<|im_start|>user\\nHi<|im_end|>\\n"])[0]
tokens.ids, tokens.starts, tokens.ends          # characters each token starts and ends at

Added tokens cut a text before anything else happens to it, so what stands between two of them is tokenized apart, and
once where texts share it: system prompts, tool lists, the turns before in samples of a template that rewrites history.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from data_prep.control_text import BREAK

TAIL_CHARS = 100  # what stands between a prompt's last control token and its end is a role's name, rarely more
CACHED_TOKENS = 500_000  # about 20 MB of ids
GROUP_CHARS = 8_000


class Offsets(NamedTuple):
    """The characters each token of a piece starts and ends at, counted from the piece's first."""

    starts: list[int]
    ends: list[int]


class Tokens:
    """A tokenized text: ids, and the characters each token starts and ends at.

    It is made of pieces that were tokenized apart: piece i is text[chars[i] : chars[i + 1]] and begins with token
    firsts[i]. `offsets` are found when asked for, since most pieces need none; `find_offsets` does it for one's text.
    """

    __slots__ = ("_chars", "_find_offsets", "_firsts", "_offsets", "_texts", "ids")

    def __init__(
        self, ids: list[int], chars: list[int], firsts: list[int], texts: list[str], find: Callable[[str], Offsets]
    ):
        self.ids = ids
        self._chars = chars
        self._firsts = firsts
        self._texts = texts
        self._find_offsets = find
        self._offsets: dict[int, Offsets] = {}

    @property
    def starts(self) -> list[int]:
        """First characters, ascending."""
        return [char + start for at, char in enumerate(self._chars) for start in self._offsets_of(at).starts]

    @property
    def ends(self) -> list[int]:
        """The characters behind the last ones, ascending."""
        return [char + end for at, char in enumerate(self._chars) for end in self._offsets_of(at).ends]

    def _offsets_of(self, piece: int) -> Offsets:
        if piece not in self._offsets:
            self._offsets[piece] = self._find_offsets(self._texts[piece])
        return self._offsets[piece]

    def piece_before(self, char: int) -> tuple[int, int]:
        """(first token, first character) of the last piece that begins at this character or before it."""
        at = bisect_right(self._chars, char) - 1
        return self._firsts[at], self._chars[at]

    def first_from(self, char: int) -> int:
        """The number of the first token that starts at this character or behind it."""
        at = bisect_right(self._chars, char) - 1
        if self._chars[at] == char:
            return self._firsts[at]
        return self._firsts[at] + bisect_left(self._offsets_of(at).starts, char - self._chars[at])

    def first_behind(self, char: int, low: int, high: int) -> int:
        """The number of the first token from `low` up to `high` that ends behind this character."""
        at = bisect_right(self._chars, char) - 1
        first = self._firsts[at]
        if self._chars[at] != char:
            first += bisect_right(self._offsets_of(at).ends, char - self._chars[at])
        return min(max(low, first), high)

    def start(self, token: int) -> int:
        """The character that a token starts at."""
        at = bisect_right(self._firsts, token) - 1
        return self._chars[at] + self._offsets_of(at).starts[token - self._firsts[at]]


class TextTokens:
    """Tokenizes rendered text with one tokenizer, adding nothing to it.

    `lead` is the text of a control token: what follows one is tokenized, and decoded, as it is in the middle of a text.
    `breaks` says that texts may hold the marks of ControlText.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, lead: str, breaks: bool):
        self.tokenizer = tokenizer
        self.lead = lead
        self.breaks = breaks
        self.lead_id = tokenizer.convert_tokens_to_ids(lead)
        self.added_ids = set(tokenizer.added_tokens_decoder)
        self._cuts = None if breaks else _cuts(tokenizer)
        self._added = {token.content: [number] for number, token in tokenizer.added_tokens_decoder.items()}
        self._tails: dict[str, list[int]] = {}
        self._known: dict[str, list[int]] = {}
        self._known_tokens = 0
        self._backend.no_truncation()
        self._backend.no_padding()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": {}, "_known_tokens": 0}  # a worker has other texts before it

    @property
    def _backend(self) -> Tokenizer:
        return self.tokenizer.backend_tokenizer

    def encode(self, texts: list[str]) -> list[Tokens]:
        """Tokenize texts together; one that holds breaks is tokenized piece by piece, and its offsets count them."""
        if self._cuts is None:
            return self._encode_whole(texts)
        cut = [self._cuts.split(text) for text in texts]
        # A text that begins with no added token is the tokenizer's own: some treat a beginning otherwise.
        own = iter(self._encode_whole([text for text, pieces in zip(texts, cut, strict=True) if pieces[0]]))
        self._learn(piece for pieces in cut if not pieces[0] for piece in pieces[2::2])
        return [next(own) if pieces[0] else self._put_together(pieces) for pieces in cut]

    def _encode_whole(self, texts: list[str]) -> list[Tokens]:
        pieces = [text.split(BREAK) if self.breaks else [text] for text in texts]
        encodings = iter(
            self._backend.encode_batch([piece for cut in pieces for piece in cut], add_special_tokens=False)
        )
        made = []
        for cut in pieces:
            ids: list[int] = []
            joined, base = Offsets([], []), 0
            for piece in cut:
                encoding = next(encodings)
                part = _offsets(encoding)
                ids += encoding.ids
                joined.starts.extend(base + start for start in part.starts)
                joined.ends.extend(base + end for end in part.ends)
                base += len(piece) + 1
            made.append(Tokens(ids, [0], [0], [""], _given(joined)))
        return made

    def _learn(self, pieces: Iterator[str]) -> None:
        """Tokenize what is not known yet of the texts that stand behind added tokens."""
        if self._known_tokens > CACHED_TOKENS:
            self._known.clear()
            self._known_tokens = 0
        groups: list[list[str]] = [[]]
        chars = 0
        for piece in dict.fromkeys(pieces):
            if piece not in self._known:
                groups[-1].append(piece)
                chars += len(piece)
                if chars > GROUP_CHARS:
                    groups.append([])
                    chars = 0
        # Many short pieces in one text, the lead before each and at the end: that is what marks them in the ids.
        texts = [self.lead.join(["", *group, ""]) for group in groups]
        for group, encoding in zip(
            groups, self._backend.encode_batch_fast(texts, add_special_tokens=False), strict=True
        ):
            ids, at = encoding.ids, 1
            for piece in group:
                end = ids.index(self.lead_id, at)
                self._known[piece] = ids[at:end]
                at = end + 1
            self._known_tokens += len(ids)

    def _put_together(self, cut: list[str]) -> Tokens:
        """The tokens of pieces that are, in turn, behind an added token and one: `_cuts` splits a text so."""
        ids: list[int] = []
        chars, firsts, texts = [], [], []
        char = 0
        for number, text in enumerate(cut):
            if text:
                chars.append(char)
                firsts.append(len(ids))
                texts.append(text)
                ids += self._added[text] if number % 2 else self._known[text]
                char += len(text)
        return Tokens(ids, chars or [0], firsts or [0], texts or [""], self._find_offsets)

    def _find_offsets(self, text: str) -> Offsets:
        """Where the tokens of a text that follows a control token, or is one, are in it."""
        if text in self._added:
            return Offsets([0], [len(text)])
        starts, ends = _offsets(self._backend.encode(self.lead + text, add_special_tokens=False))
        shift = len(self.lead)
        return Offsets([start - shift for start in starts[1:]], [end - shift for end in ends[1:]])

    def unbroken(self, text: str) -> str:
        """The text as its tokens read: without breaks."""
        return text.replace(BREAK, "") if self.breaks else text

    def ids(self, text: str) -> list[int]:
        return self.encode([text])[0].ids

    def added_in(self, text: str) -> list[int]:
        """The ids of the added tokens in a text, and where they cannot be told from the text alone all of its ids."""
        if self._cuts is None:
            return self.ids(text)
        return [self._added[found][0] for found in self._cuts.findall(text)]

    def continuation(self, text: str) -> Tokens:
        """A text that follows a control token, tokenized apart from what stands before it."""
        if self._cuts is not None:
            cut = self._cuts.split(text)
            self._learn(iter(cut[::2]))
            return self._put_together(cut)
        [whole] = self._encode_whole([self.lead + text])
        shift = len(self.lead)
        offsets = Offsets([start - shift for start in whole.starts[1:]], [end - shift for end in whole.ends[1:]])
        return Tokens(whole.ids[1:], [0], [0], [""], _given(offsets))

    def prompt_tokens(self, text: str, tokens: Tokens, border: int) -> int | None:
        """How many ids the prompt `text[:border]` has; None where its ids are not those that `tokens` begin with.

        Added tokens cut a text before anything else happens to it, so the two can differ only behind the last added
        token, and only that tail (a role's name and a line break, as a rule) is tokenized again.
        """
        first, anchor = tokens.piece_before(border)
        if not first:  # one piece, or the text's first one
            first, anchor = self._last_added(tokens, tokens.first_from(border), border)
        if not first:
            ids = self.ids(text[:border])
            return len(ids) if tokens.ids[: len(ids)] == ids else None
        tail = self._tail(text[anchor:border])
        return first + len(tail) if tokens.ids[first : first + len(tail)] == tail else None

    def _last_added(self, tokens: Tokens, before: int, border: int) -> tuple[int, int]:
        """(number of tokens, characters) up to and with the last added token that ends at `border` or earlier."""
        ids, ends = tokens.ids, tokens.ends
        for at in range(before - 1, -1, -1):
            if ids[at] in self.added_ids and ends[at] <= border:
                return at + 1, ends[at]
        return 0, 0

    def _tail(self, text: str) -> list[int]:
        ids = self._tails.get(text)
        if ids is None:
            ids = self.continuation(text).ids
            if len(text) < TAIL_CHARS:
                self._tails[text] = ids
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of ids that follow a prompt: behind a control token, lest a decoder trims what begins a text."""
        # Not `tokenizer.decode`, which looks at the type of every id first: every trained turn is decoded.
        text = self.tokenizer.backend_tokenizer.decode([self.lead_id, *ids], skip_special_tokens=False)
        return text.removeprefix(self.lead)

    def normal(self, text: str) -> str:
        """What of a text survives any tokenizer: Qwen composes accents, Gemma writes a space otherwise, some trim."""
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        return "".join((normalizer.normalize_str(text) if normalizer else text).split())


def _offsets(encoding: Encoding) -> Offsets:
    offsets = encoding.offsets
    return Offsets([start for start, _ in offsets], [end for _, end in offsets])


def _given(offsets: Offsets) -> Callable[[str], Offsets]:
    return lambda text: offsets


def _cuts(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """What cuts a text: its added tokens; None where one takes the white space beside it or needs a normalized text."""
    added = tokenizer.added_tokens_decoder.values()
    if not added or any(token.lstrip or token.rstrip or token.single_word or token.normalized for token in added):
        return None
    longest_first = sorted((token.content for token in added), key=len, reverse=True)  # as the tokenizer matches them
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})")
