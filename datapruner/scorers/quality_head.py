"""A linear head on embeddings, learned from rated examples, as FineWeb-Edu's (Penedo et al. 2024, arXiv:2406.17557).

    score = w x + b,    w and b by ridge regression of the ratings on the embeddings of the examples

Higher is what the examples rate higher, in their unit. `examples` is a corpus whose rows have the embedding in the
same field as the corpus has it, or as its column is called, and a number as rating: a few thousand pages that people or
a large model have rated, or 1 and 0 for good and bad. The sums for the regression are taken in one pass, in float64.

What was learned is a file of the column, `<table>/<column>/fit.safetensors`: `head` takes it and nothing is learned
anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.scorers._linear_head import checked_head, head_identity
from datapruner.scoring.scorer import COSMETIC, NOTHING, Batch, Scorer, State


@dataclass(frozen=True)
class QualityHead(Scorer):
    """Paper: Penedo et al. 2024, FineWeb-Edu (arXiv:2406.17557); ridge regression of ratings on embeddings.

    `features` names the field or column with a row's embedding, [d], `rating` the examples' field with a number;
    `head` is the fit.safetensors of an earlier column; `penalty` is what is added to each direction's sum of squares.
    """

    examples: str = field(default="", metadata=SECOND_CORPUS)
    features: str = "embedding"
    rating: str = "label"
    penalty: float = 1.0
    head: str | None = field(default=None, metadata=COSMETIC)

    needs: ClassVar[tuple[str, ...]] = ()
    direction: ClassVar[str] = "higher is rated higher, in the unit of the ratings"
    cost: ClassVar[str] = "d FLOP a row beside the vectors; fit: logistic regression on the examples"

    def check(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"quality_head.penalty wants a number above 0, got {self.penalty}")
        if self.head is None:
            self._rated.check()
        elif self.examples:
            raise ValueError("quality_head wants a head or examples to learn one from, got both")
        else:
            checked_head(Path(self.head), "quality_head.head")

    def vectors(self) -> tuple[str, ...]:
        return (self.features,)

    def identity(self) -> dict[str, str]:
        if self.head is not None:
            return {"head": head_identity(Path(self.head))}
        return {"examples": self._rated.fingerprint()}

    def fit(self, corpus: Iterable[Batch]) -> State:
        if self.head is not None:
            return checked_head(Path(self.head), "quality_head.head")
        rated, squares = self._rated, np.zeros((0, 0))
        for chunk in rated.chunks():
            ratings = rated.vectors_of(chunk, self.rating)
            if ratings.shape[1] != 1:
                raise ValueError(f"quality_head.rating wants one number in {self.rating!r}, got {ratings.shape[1]}")
            # the last two columns: ones, for the bias, and the ratings
            rows = np.hstack([rated.vectors_of(chunk, self.features), np.ones_like(ratings), ratings]).astype(float)
            if len(squares) and len(squares) != rows.shape[1]:
                raise ValueError(f"quality_head.examples: want {self.features!r} of one length, got several")
            squares = squares + rows.T @ rows if len(squares) else rows.T @ rows
        return self._solved(squares)

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "weight" not in state:
            raise ValueError("quality_head wants the state that fit(corpus) returned")
        rows, weight = batch.vectors[self.features], state["weight"].astype(np.float64)
        if len(batch) and rows.shape[1] != len(weight):
            raise ValueError(f"quality_head wants {self.features!r} of {len(weight)} numbers, got {rows.shape[1]}")
        # row by row: a product of matrices rounds by how many rows there are
        return ((rows * weight).sum(1) + state["bias"][0]).astype(np.float32)

    def _solved(self, squares: np.ndarray) -> State:
        """Weight and bias from the sums of products; the bias has no penalty."""
        d, n = len(squares) - 2, squares[-2, -2]
        means = squares[-2, :] / n
        centred = squares - n * np.outer(means, means)
        weight = np.linalg.solve(centred[:d, :d] + self.penalty * np.eye(d), centred[:d, -1])
        bias = means[-1] - means[:d] @ weight
        return {"weight": weight.astype(np.float32), "bias": np.array([bias], dtype=np.float32)}

    @property
    def _rated(self) -> SecondCorpus:
        return SecondCorpus(self.examples, "quality_head.examples", None, vectors=(self.features, self.rating))
