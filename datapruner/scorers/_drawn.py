"""Some rows of a stream: those with the smallest keys, hence the same ones in whatever order they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


def _one(item: object) -> int:
    return 1


class Drawn(Generic[T]):
    """Items in the order of their keys, until their sizes sum to `most`; more than twice that is never held."""

    def __init__(self, most: int, size: Callable[[T], int] = _one) -> None:
        self.most, self.size = most, size
        self.keys = np.zeros(0, np.uint64)
        self.held: list[T] = []
        self.total = 0

    def add(self, keys: np.ndarray, items: Sequence[T]) -> None:
        """`keys` uint64 [n], as if drawn, one for each of `items`."""
        self.keys = np.concatenate([self.keys, keys])
        self.held += items
        self.total += sum(map(self.size, items))
        if self.total > 2 * self.most:
            self._cut()

    def items(self) -> list[T]:
        """What was drawn, in the order of the keys; the last one may go beyond `most`."""
        self._cut()
        return self.held

    def _cut(self) -> None:
        order = np.argsort(self.keys, kind="stable").tolist()
        before = 0
        for n, place in enumerate(order):
            if before >= self.most:
                order = order[:n]
                break
            before += self.size(self.held[place])
        self.keys, self.held, self.total = self.keys[order], [self.held[place] for place in order], before
