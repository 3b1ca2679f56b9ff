"""Near duplicates by MinHash (Broder 1997) with banding (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets).

    score = 1 - the largest estimated Jaccard similarity to a row that comes before

Higher is more unlike everything before it; 0 has the same shingles as an earlier row, 1 shares none that was
found. "Before" is a canonical order, not that of the file: longer texts first, then by the 64-bit hash of the
uid; so of any set of duplicates exactly one, the longest, keeps a high score. Defaults: word 3-grams, 128
places in 32 bands of 4, which find a pair of similarity 0.5 with probability 0.87 and of 0.8 with 0.9999.

`fit` streams the corpus once. Signatures lie in a nameless temporary file, 512 bytes a row; memory peaks at
about 80 bytes a row and keeps 12.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datapruner.scorers import _minhash
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from prunekernels.extras import require


@dataclass(frozen=True)
class NearDuplicate(Scorer):
    """Rule: 1 - largest MinHash similarity of word shingles to a longer text of the corpus (or equally long)."""

    words: int = 3
    permutations: int = 128
    bands: int = 32
    seed: int = 0

    direction: ClassVar[str] = "higher is more unlike every longer text of the corpus; 0 is a duplicate"
    default_selector: ClassVar[str] = "threshold:minimum=0.2"

    def check(self) -> None:
        if min(self.words, self.permutations, self.bands) < 1:
            raise ValueError("near_duplicate wants words, permutations and bands of at least 1")
        if self.permutations % self.bands:
            raise ValueError(
                f"near_duplicate wants permutations that its bands divide, got {self.permutations} and {self.bands}"
            )
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"near_duplicate wants a seed in [0, 2^64), got {self.seed}")

    def identity(self) -> dict[str, str]:
        return {"minhash": str(require("rensa", "data").RMinHash.ALGORITHM_VERSION)}

    def fit(self, corpus: Iterable[Batch]) -> State:
        self.check()
        lengths, keys = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
        with tempfile.TemporaryFile() as file:
            for batch in corpus:
                lengths.append(np.array([len(text) for text in batch.texts], dtype=np.int64))
                keys.append(batch.keys)
                signed = _minhash.signatures(batch.texts, self.words, self.permutations, self.seed)
                file.write(signed.tobytes())
            file.flush()
            order = np.lexsort([np.concatenate(keys), -np.concatenate(lengths)])
            shape = (len(order), self.permutations)
            # a file without bytes cannot be mapped
            signed = np.memmap(file, np.uint32, "r", shape=shape) if len(order) else np.zeros(shape, np.uint32)
            equal, nearest = _minhash.nearest_before(signed, order, self.bands)
        return {"equal": equal, "nearest_row": nearest}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "equal" not in state:
            raise ValueError("near_duplicate wants the state that fit(corpus) returned")
        return (1 - state["equal"][batch.rows] / self.permutations).astype(np.float32)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`nearest_row`: the row number of the most similar earlier row, -1 where none was found."""
        return {"nearest_row": state["nearest_row"][batch.rows]}
