"""A known problem in a task's place: losses of pieces that are written down, so that the best prompt is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from contextpruner.prompts.pieces import Pieces
from contextpruner.prompts.task import RowScores, Task

Losses = Callable[[set[str]], Sequence[float]]


class ToyTask(Task):
    """Pieces are words; a word is as many tokens as it has letters. `losses` gives the loss of each row."""

    has_labels = True

    def __init__(
        self, words: str, losses: Losses, n_rows: int = 1, *, part: Sequence[int] = (), protected: str = ""
    ) -> None:
        texts = words.split()
        parts = np.array(part or [-1] * len(texts), dtype=np.int64)
        self.pieces = Pieces(tuple(texts), parts, np.array([text in protected.split() for text in texts], dtype=bool))
        self.losses, self.n_rows, self.name = losses, n_rows, "toy"
        # what was asked, a prompt and its rows each
        self.asked: list[tuple[str, list[int]]] = []
        self.vectors = np.eye(len(texts), dtype=np.float32)

    def ids(self, kept: np.ndarray) -> tuple[int, ...]:
        return tuple(ord(letter) for letter in self.pieces.join(kept))

    def score(self, kept: np.ndarray, rows: Sequence[int]) -> RowScores:
        words = [text for text, stays in zip(self.pieces.texts, kept, strict=True) if stays]
        self.asked.append((" ".join(words), [*rows]))
        losses = np.array(self.losses({*words}), dtype=np.float64)[[*rows]]
        return RowScores(-losses, (losses < 0.5).astype(np.float64))

    def embeddings(self) -> np.ndarray:
        return self.vectors

    def states(self) -> np.ndarray:
        return self.vectors

    def kept(self, mask: np.ndarray) -> str:
        return " ".join(text for text, stays in zip(self.pieces.texts, mask, strict=True) if stays)


def copies(kept: set[str]) -> list[float]:
    """One of a and b is needed and costs 10, c costs 3, d costs 1, on both of two rows."""
    return [10.0 * (not kept & {"a", "b"}) + 3.0 * ("c" not in kept) + 1.0 * ("d" not in kept)] * 2


def noisy(kept: set[str]) -> list[float]:
    """Each of w x y z that is wanting costs 1, and every other word that is there a half."""
    good = {"w", "x", "y", "z"}
    return [len(good - kept) + 0.5 * len(kept - good)] * 4
