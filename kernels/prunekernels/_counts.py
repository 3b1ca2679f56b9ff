"""Whole numbers as callers give them: Python's, numpy's and tensors of one, nothing that would have to be rounded."""

from __future__ import annotations

import operator
from typing import SupportsIndex


def whole(name: str, value: SupportsIndex) -> int:
    """`value` as an int; raises ValueError where it is not a whole number by its type."""
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"want {name} as a whole number, got {value!r}") from None
