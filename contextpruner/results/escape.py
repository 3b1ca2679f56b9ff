"""Texts of others made harmless before they are shown."""

from __future__ import annotations

PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {
    127: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    # these turn the direction of the text that follows
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"),
}


def printable(text: str) -> str:
    """`text` with control characters as pictures, so that no document can steer a terminal or a page."""
    return text.replace("\r\n", "\n").translate(PICTURES)
