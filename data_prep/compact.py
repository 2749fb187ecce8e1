"""What a build keeps in memory for each of its rows, in blocks of bytes: a Python object each would be most of it.

ids = Numbers()
ids.add("chat-0"), ids.add("chat-1"), ids.add("chat-0")        0, 1, 0
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable
from hashlib import blake2b
from typing import BinaryIO, Protocol

KEY_BYTES = 16


class ByNumber(Protocol):
    """What gives a text for a number: Texts, Labels or a list."""

    def __getitem__(self, number: int, /) -> str: ...


class Numbers:
    """Numbers texts 0, 1, 2, ... by first appearance, in 25 to 35 bytes a text, however long it is.

    A text is known by 128 bits of its hash: among a trillion texts, two share them with a chance of 1 in 10^15.
    """

    def __init__(self, texts: Iterable[str] = ()):
        self._keys = bytearray()  # the texts' hashes, by number
        self._slots = array("I", [0]) * 8  # a hash table with open addressing: number + 1, or 0 where there is none
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._keys) // KEY_BYTES

    def __contains__(self, text: str) -> bool:
        return self.find(text) is not None

    def find(self, text: str) -> int | None:
        """The text's number, None where it has none."""
        number = self._slots[self._slot(_key(text))]
        return number - 1 if number else None

    def add(self, text: str) -> int:
        """The text's number; for a new text that is the next one, `len` before the call."""
        key = _key(text)
        slot = self._slot(key)
        if not self._slots[slot]:
            self._keys += key
            self._slots[slot] = len(self)
            if 3 * len(self) > 2 * len(self._slots):
                self._grow()
            return len(self) - 1
        return self._slots[slot] - 1

    def _slot(self, key: bytes | bytearray) -> int:
        """Where the key stands or, if it is new, belongs."""
        last = len(self._slots) - 1
        slot = int.from_bytes(key[:8], "little") & last
        while (number := self._slots[slot]) and self._keys[(number - 1) * KEY_BYTES : number * KEY_BYTES] != key:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        self._slots = array("I", [0]) * (2 * len(self._slots))
        for number in range(len(self)):
            slot = self._slot(self._keys[number * KEY_BYTES : (number + 1) * KEY_BYTES])
            self._slots[slot] = number + 1


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


class Texts:
    """Texts by number, in a file (by default one in memory); 8 bytes of memory each beside it."""

    def __init__(self, file: BinaryIO | None = None):
        self._file = file or io.BytesIO()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, text: str) -> None:
        """Add the next text."""
        self._ends.append(self._ends[-1] + self._file.write(text.encode("utf-8", "surrogatepass")))

    def __getitem__(self, number: int, /) -> str:
        begin, end = self._ends[number], self._ends[number + 1]
        self._file.seek(begin)
        text = self._file.read(end - begin)
        self._file.seek(0, io.SEEK_END)  # where append goes on
        return text.decode("utf-8", "surrogatepass")


class Labels:
    """Texts by number of which few differ, such as the sources of rows; 4 bytes each."""

    def __init__(self) -> None:
        self._numbers = array("I")
        self._texts: dict[str, int] = {}
        self._different: list[str] = []

    def append(self, text: str) -> None:
        """Add the next text."""
        self._numbers.append(self._texts.setdefault(text, len(self._texts)))
        if len(self._texts) > len(self._different):
            self._different.append(text)

    def __getitem__(self, number: int, /) -> str:
        return self._different[self._numbers[number]]
