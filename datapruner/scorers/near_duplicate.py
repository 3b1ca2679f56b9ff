"""Near duplicates by MinHash (Broder 1997) with banding (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets).

    score = the largest estimated Jaccard similarity of word n-grams to an earlier row

A row goes where the score is above a threshold; 1 has all n-grams of an earlier row, 0 shares none that was found.
Texts are folded first (see _words.py): letters with their marks, NFKC, no Arabic or Hebrew points; n-grams of scripts
without spaces count letters. Equal texts are found by a hash of all their words and not compared.

"Earlier" is a canonical order, so that no score hangs on the order of the file: the rows of an older corpus, then
longer texts first, then by the 64-bit hash of the uid; with keep="first" it is the order of the corpus. `semantics`
says which earlier rows count, see _copies.py; one_of_each chooses anew which copy stays.

Defaults: word 5-grams and a threshold of 0.8, as Lee et al. 2022 (arXiv:2107.06499); 128 places in 32 bands of 4, which
find a pair of similarity 0.5 with probability 0.87 and of 0.8 with 0.99999. A pair's estimate has a standard
deviation of at most 0.044.

`fit` streams the corpus once; signatures take 512 bytes a row on disk, memory peaks at about 100 bytes a row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.chunks import Chunk
from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.corpus.uids import hash64
from datapruner.scorers import _copies, _minhash
from datapruner.scorers._copies import Links, Pairs, Semantics
from datapruner.scorers._copy_state import copy_details, copy_score, copy_state, packed
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from datapruner.scoring.workspace import Workspace
from prunekernels.extras import require


@dataclass(frozen=True)
class NearDuplicate(Scorer):
    """Paper: Broder 1997, Lee et al. 2022 (arXiv:2107.06499); MinHash similarity of word n-grams to an earlier text.

    `against` is an older corpus, whose rows all come earlier, with its texts in `against_text`. `threshold` is the
    similarity above which "greedy" lets a row go, and at which `cluster` is cut.
    """

    ngram: int = 5
    permutations: int = 128
    bands: int = 32
    semantics: Semantics = "greedy"
    threshold: float = 0.8
    keep: Literal["longest", "first"] = "longest"
    against: str | None = field(default=None, metadata=SECOND_CORPUS)
    against_text: str = "text"
    seed: int = 0

    version: ClassVar[int] = 2
    scores_by_number: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is more like an earlier text; 1 is a copy; in [0, 1]"
    cost: ClassVar[str] = "a hash a shingle and permutation, then a comparison for each pair that shares a band"
    default_selector: ClassVar[str] = "threshold:maximum=0.8"

    def check(self) -> None:
        if min(self.ngram, self.permutations, self.bands) < 1:
            raise ValueError("near_duplicate wants ngram, permutations and bands of at least 1")
        if self.permutations % self.bands:
            raise ValueError(
                f"near_duplicate wants permutations that its bands divide, got {self.permutations} and {self.bands}"
            )
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"near_duplicate wants a seed in [0, 2^64), got {self.seed}")
        if self.semantics not in _copies.SEMANTICS or self.keep not in ("longest", "first"):
            raise ValueError(
                f"near_duplicate wants semantics of {', '.join(_copies.SEMANTICS)} and keep longest or first, got "
                f"{self.semantics!r} and {self.keep!r}"
            )
        if not 0 < self.threshold < 1:
            raise ValueError(f"near_duplicate wants a threshold in (0, 1), got {self.threshold}")
        if self.against is not None:
            self._older.check()

    def identity(self) -> dict[str, str]:
        found = {"minhash": str(require("rensa", "data").RMinHash.ALGORITHM_VERSION)}
        return found if self.against is None else {**found, "against": self._older.fingerprint()}

    def fit(self, corpus: Iterable[Batch], workspace: Workspace | None = None) -> State:
        self.check()
        workspace = workspace or Workspace()
        older: Iterable[Batch | Chunk] = self._older.chunks() if self.against is not None else ()
        given: tuple[tuple[str, Iterable[Batch | Chunk]], ...] = (("signed", corpus), ("older", older))
        with tempfile.TemporaryFile() as file:
            columns, n = [], 0
            for name, rows in given:
                for block in workspace.each(name, rows, self._signed):
                    file.write(block["signatures"].tobytes())
                    columns.append({key: values for key, values in block.items() if key != "signatures"})
                    n += len(block["keys"]) if name == "signed" else 0
            file.flush()
            shape = (sum(len(column["keys"]) for column in columns), self.permutations)
            # a file without bytes cannot be mapped
            signatures = np.memmap(file, np.uint32, "r", shape=shape) if shape[0] else np.zeros(shape, np.uint32)
            links = self._links(signatures, _joined(columns, "wholes"), self._order(columns, n), n)
        return copy_state(links, n, self.threshold, columns)

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return copy_score(batch, state, "near_duplicate")

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        return copy_details(batch, state)

    @property
    def _older(self) -> SecondCorpus:
        return SecondCorpus(self.against or "", "near_duplicate.against", self.against_text)

    def _signed(self, rows: Batch | Chunk) -> dict[str, np.ndarray]:
        """What is kept of some rows; nothing hangs on rows before them."""
        found = _minhash.signed(rows.texts, self.ngram, self.permutations, self.seed)
        lengths = np.array([len(text) for text in rows.texts], dtype=np.int64)
        return {**found._asdict(), "lengths": lengths, "keys": hash64(rows.uids), **packed(rows.uids)}

    def _order(self, columns: Sequence[Mapping[str, np.ndarray]], n: int) -> np.ndarray:
        """All rows, the earlier first; those from `n` on are of the older corpus."""
        lengths, keys = _joined(columns, "lengths"), _joined(columns, "keys")
        rows = np.arange(len(keys))
        if self.keep == "first":
            return np.lexsort([rows, rows < n])
        return np.lexsort([rows, keys, -lengths, rows < n])

    def _links(self, signatures: np.ndarray, wholes: np.ndarray, order: np.ndarray, n: int) -> Links:
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        copies, firsts = _copies.equal_rows(wholes, order)
        different = np.ones(len(order), dtype=bool)
        different[copies] = False

        def pairs() -> Iterator[Pairs]:
            yield from _minhash.pairs(signatures, order[different[order]], self.bands, n)

        links = _copies.links(pairs, rank, self.semantics, self.threshold)
        links.similarity[copies], links.nearest[copies] = 1, firsts
        return links


def _joined(columns: Sequence[Mapping[str, np.ndarray]], name: str) -> np.ndarray:
    kinds = {"lengths": np.int64}
    return np.concatenate([column[name] for column in columns] or [np.zeros(0, kinds.get(name, np.uint64))])
