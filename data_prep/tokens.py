"""Rendered text to token ids with their places in the text, and back.

tokens = TextTokens(tokenizer, lead="<|im_end|>", breaks=False).encode(["<|im_start|>user\\nHi<|im_end|>\\n"])[0]
tokens.ids, tokens.starts, tokens.ends          # characters each token starts and ends at
"""

from __future__ import annotations

from typing import NamedTuple

from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from data_prep.control_text import BREAK

TAIL_CHARS = 100  # what stands between a prompt's last control token and its end is a role's name, rarely more


class Tokens(NamedTuple):
    """A tokenized text: ids, and the characters each token starts and ends at."""

    ids: list[int]
    starts: list[int]
    ends: list[int]


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
        self._tails: dict[str, list[int]] = {}
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()

    def encode(self, texts: list[str]) -> list[Tokens]:
        """Tokenize texts together; one that holds breaks is tokenized piece by piece, and its offsets count them."""
        pieces = [text.split(BREAK) if self.breaks else [text] for text in texts]
        backend = self.tokenizer.backend_tokenizer
        encodings = iter(backend.encode_batch([piece for cut in pieces for piece in cut], add_special_tokens=False))
        return [_joined(cut, [_tokens(next(encodings)) for _ in cut]) for cut in pieces]

    def unbroken(self, text: str) -> str:
        """The text as its tokens read: without breaks."""
        return text.replace(BREAK, "") if self.breaks else text

    def ids(self, text: str) -> list[int]:
        return self.encode([text])[0].ids

    def continuation(self, text: str) -> Tokens:
        """A text that follows a control token, tokenized apart from what stands before it."""
        ids, starts, ends = (column[1:] for column in self.encode([self.lead + text])[0])
        shift = len(self.lead)
        return Tokens(ids, [start - shift for start in starts], [end - shift for end in ends])

    def prompt_is_prefix(self, text: str, tokens: Tokens, first: int, border: int) -> bool:
        """Whether the ids before `first` are the ids of the prompt `text[:border]` alone.

        Added tokens cut a text before anything else happens to it, so the two can differ only behind the last added
        token, and only that tail (a role's name and a line break, as a rule) is tokenized again.
        """
        anchor = first - 1
        while anchor >= 0 and (tokens.ids[anchor] not in self.added_ids or tokens.ends[anchor] > border):
            anchor -= 1
        if anchor < 0:
            return self.ids(text[:border]) == tokens.ids[:first]
        tail = text[tokens.ends[anchor] : border]
        ids = self._tails.get(tail)
        if ids is None:
            ids = self.continuation(tail).ids
            if len(tail) < TAIL_CHARS:
                self._tails[tail] = ids
        return tokens.ids[anchor + 1 : first] == ids

    def decode(self, ids: list[int]) -> str:
        """The text of ids that follow a prompt: behind a control token, lest a decoder trims what begins a text."""
        # Not `tokenizer.decode`, which looks at the type of every id first: every trained turn is decoded.
        text = self.tokenizer.backend_tokenizer.decode([self.lead_id, *ids], skip_special_tokens=False)
        return text.removeprefix(self.lead)

    def normal(self, text: str) -> str:
        """What of a text survives any tokenizer: Qwen composes accents, Gemma writes a space otherwise, some trim."""
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        return "".join((normalizer.normalize_str(text) if normalizer else text).split())


def _tokens(encoding: Encoding) -> Tokens:
    offsets = encoding.offsets
    return Tokens(encoding.ids, [start for start, _ in offsets], [end for _, end in offsets])


def _joined(pieces: list[str], tokens: list[Tokens]) -> Tokens:
    """The tokens of a text whose pieces were tokenized apart; offsets count the break between two pieces."""
    if len(tokens) == 1:
        return tokens[0]
    joined, base = Tokens([], [], []), 0
    for piece, part in zip(pieces, tokens, strict=True):
        joined.ids.extend(part.ids)
        joined.starts.extend(base + start for start in part.starts)
        joined.ends.extend(base + end for end in part.ends)
        base += len(piece) + 1
    return joined
