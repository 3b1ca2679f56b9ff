"""Texts that can be written down: what every text that comes in has to be."""

from __future__ import annotations


def check_text(name: str, text: object) -> str:
    """`text` if it is a string that can be written as UTF-8; raises ValueError with `name` otherwise."""
    if not isinstance(text, str):
        raise ValueError(f"{name} wants a string, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds half of a surrogate pair at character {error.start}") from None
    return text
