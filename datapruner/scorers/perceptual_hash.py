"""Near duplicate images by perceptual hashes (Zauner 2010, Perceptual image hash functions).

    hash  = 64 bits: which of the 8 x 8 lowest frequencies of the image, 32 x 32 and grey, are above their median
    score = 1 - (bits that differ) / 64, to the most similar earlier row that counts

Higher is more of a duplicate; copies in other sizes, formats and qualities have 0.9 and more, unrelated images about
0.5. Which earlier rows count, `semantics` says (_copies.py); "earlier" is by pixels, the larger first, then by the
64-bit hash of the uid, or with keep="first" the order of the corpus; rows of an older corpus come before all. A broken
image is like nothing, and so is one without an earlier image of more than 0.85: no such pair is missed (see
_hamming.py), and about one pair of two hundred has to be compared; equal hashes need not be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.chunks import Chunk
from datapruner.corpus.pictures import pictures
from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.corpus.uids import hash64
from datapruner.scorers import _copies
from datapruner.scorers._copies import Pairs, Semantics
from datapruner.scorers._copy_state import copy_details, copy_score, copy_state, packed
from datapruner.scorers._hamming import BITS, near_pairs
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from datapruner.scoring.workspace import Workspace
from prunekernels.extras import require

SIDE = 32
# pairs that differ in more bits are not looked for: they are no copies
RADIUS, LEAST = 9, 0.85


@dataclass(frozen=True)
class PerceptualHash(Scorer):
    """Paper: Zauner 2010 (perceptual hash by DCT); share of equal bits with an earlier image.

    `threshold` is the similarity above which "greedy" lets a row go. `against` is an older corpus with its images in
    the field `against_image`, or a folder of images.
    """

    semantics: Semantics = "greedy"
    threshold: float = 0.9
    keep: Literal["largest", "first"] = "largest"
    against: str | None = field(default=None, metadata=SECOND_CORPUS)
    against_image: str = "image"

    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("images",)
    scores_by_number: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is more like an earlier image; 1 has the same hash; 0 is like none above 0.85"
    cost: ClassVar[str] = "one decoding a picture, then about n^2 / 400 comparisons of 64 bits"
    default_selector: ClassVar[str] = "threshold:maximum=0.9"

    def check(self) -> None:
        if self.semantics not in _copies.SEMANTICS or self.keep not in ("largest", "first"):
            raise ValueError(
                f"perceptual_hash wants semantics of {', '.join(_copies.SEMANTICS)} and keep largest or first, got "
                f"{self.semantics!r} and {self.keep!r}"
            )
        if not LEAST <= self.threshold < 1:
            raise ValueError(f"perceptual_hash wants a threshold in [{LEAST}, 1), got {self.threshold}")
        if self.against is not None:
            self._older.check()

    def identity(self) -> dict[str, str]:
        return {} if self.against is None else {"against": self._older.fingerprint()}

    def fit(self, corpus: Iterable[Batch], workspace: Workspace | None = None) -> State:
        self.check()
        workspace = workspace or Workspace()
        older: Iterable[Batch | Chunk] = self._older.chunks() if self.against is not None else ()
        given: tuple[tuple[str, Iterable[Batch | Chunk]], ...] = (("images", corpus), ("older", older))
        blocks = [[dict(block) for block in workspace.each(name, rows, _hashed)] for name, rows in given]
        n = sum(len(block["keys"]) for block in blocks[0])
        every = [*blocks[0], *blocks[1]]
        hashes, keys, pixels = (
            np.concatenate([np.zeros(0, kind), *(block[name] for block in every)])
            for name, kind in (("hashes", np.uint64), ("keys", np.uint64), ("pixels", np.int64))
        )
        rows, rank = np.arange(len(keys)), np.empty(len(keys), np.int64)
        first = [rows] if self.keep == "first" else [rows, keys, -pixels]
        rank[np.lexsort([*first, rows < n])] = rows
        whole = np.flatnonzero(pixels > 0)
        in_order = whole[rank[whole].argsort()]
        copies, firsts = _copies.equal_rows(hashes, in_order)
        different = in_order[~np.isin(in_order, copies)]
        found = _copies.links(lambda: _pairs(hashes, different, n), rank, self.semantics, self.threshold)
        found.similarity[copies], found.nearest[copies] = 1, firsts
        return copy_state(found, n, self.threshold, every)

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return copy_score(batch, state, "perceptual_hash")

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        return copy_details(batch, state)

    @property
    def _older(self) -> SecondCorpus:
        return SecondCorpus(self.against or "", "perceptual_hash.against", text=None, image=self.against_image)


def image_hashes(images: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The hash of each image, uint64 [n], and its pixels, int64 [n], 0 where it is broken."""
    found = [*pictures(images)]
    pixels = np.array([0 if picture is None else picture.width * picture.height for picture in found], np.int64)
    hashes = np.zeros(len(found), np.uint64)
    for place, picture in enumerate(found):
        if picture is not None:
            grey = np.asarray(picture.convert("L").resize((SIDE, SIDE)), np.float64)
            low = require("scipy.fft", "data").dctn(grey)[:8, :8].ravel()
            # the mean of the image is no frequency
            bits = low > np.median(low[1:])
            hashes[place] = np.packbits(bits).view(">u8")[0]
    return hashes, pixels


def _hashed(rows: Batch | Chunk) -> dict[str, np.ndarray]:
    hashes, pixels = image_hashes(rows.images or ())
    return {"hashes": hashes, "pixels": pixels, "keys": hash64(rows.uids), **packed(rows.uids)}


def _pairs(hashes: np.ndarray, order: np.ndarray, n: int) -> Iterator[Pairs]:
    """All pairs of the rows of `order` that are more alike than unrelated ones; the later is one of the first `n`."""
    for later, earlier, bits in near_pairs(hashes[order], RADIUS):
        own = order[later] < n
        yield Pairs(order[later[own]], order[earlier[own]], (1 - bits[own] / BITS).astype(np.float32))
