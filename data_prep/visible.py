"""Data as text that only shows: `visible("a\\x1b[2J")` -> "a␛[2J"."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"  # format characters that are part of words and emoji


def visible(text: str) -> str:
    """Text with every control and format character but the line break as a picture or escape."""
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
    code = ord(char)
    if char == "\n":
        return char
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures, as U+241B for ESC
    if code == 0x7F:
        return "\u2421"
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and char not in JOINERS:
        return f"\\u{code:04x}"
    return char
