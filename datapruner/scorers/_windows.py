"""Documents of tokens in windows that a model can read, and windows in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Token ids of a piece of document number `document`, which begins at its token number `start`."""

    document: int
    ids: list[int]
    start: int = 0


def windows_of(document: int, ids: list[int], size: int) -> Iterator[Window]:
    """Pieces of at most `size` tokens, each beginning with the last token of the one before."""
    for start in range(0, len(ids) - 1, size - 1):
        yield Window(document, ids[start : start + size], start)


def batches_of(windows: Sequence[Window], tokens: int) -> Iterator[list[Window]]:
    """Windows of like length together, the longest first; with its pads a batch has at most `tokens` or one window."""
    batch: list[Window] = []
    for window in sorted(windows, key=lambda window: -len(window.ids)):
        # the first of a batch is its longest
        if batch and len(batch[0].ids) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
