"""An index of token vectors: a centroid for each token, and what is left of the token in 0, 1, 2 or 4 bits a dimension.

With residuals it is PLAID's (Santhanam et al. 2022, arXiv:2205.09707), without (`bits=0`) the centroid codes of
HPC-ColPali (arXiv:2506.21601), a byte a token up to 256 centroids. Vectors are taken at length 1: a product with a
question's unit vectors is a cosine. Made of the same documents in another order, every document has the same codes.
Built and searched a few documents at a time; on a GPU where the vectors are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from contextpruner.models.late_interaction.arrays import Array, Lengths, Vectors, ragged, rows_of_width
from contextpruner.models.late_interaction.centroids import IndexSettings, blocks, fit, nearest
from prunekernels import residual_codes
from prunekernels._precision import full_precision
from prunekernels._unit import check_rows


@dataclass(frozen=True)
class CentroidIndex:
    """N documents of T tokens in K cells.

    `centroids` float32 [K, D]; `codes` [T], uint8, int16 or int32; `lengths` int64 [N] of the CPU; `residuals` uint8
    [T, ceil(D bits / 8)] and their `weights` float32 [2^bits], both without entries where bits are 0; `members` int64
    [M]: the documents of cell 0, ascending, then those of cell 1, ...; `cell_sizes` int64 [K].
    """

    centroids: torch.Tensor
    codes: torch.Tensor
    lengths: torch.Tensor
    residuals: torch.Tensor
    weights: torch.Tensor
    members: torch.Tensor
    cell_sizes: torch.Tensor
    is_numpy: bool = False

    @property
    def n_bytes(self) -> int:
        """What the index holds."""
        tensors = (
            self.centroids,
            self.codes,
            self.lengths,
            self.residuals,
            self.weights,
            self.members,
            self.cell_sizes,
        )
        return sum(each.numel() * each.element_size() for each in tensors)

    @full_precision
    def vectors(self, rows: torch.Tensor) -> torch.Tensor:
        """The tokens `rows` [n] as the index knows them: float32 [n, D], of length 1."""
        found = self.centroids.index_select(0, self.codes.index_select(0, rows).int())
        if self.weights.numel():
            packed = self.residuals.index_select(0, rows)
            found += residual_codes.decode(packed, self.weights, found.shape[1])
        return found.div_(torch.linalg.vector_norm(found, dim=1, keepdim=True).clamp_(min=1e-12))


@full_precision
def build_index(
    vectors: Vectors,
    lengths: Lengths | None = None,
    settings: IndexSettings | None = None,
    centroids: Array | None = None,
) -> CentroidIndex:
    """Index documents, ragged as in `arrays`: [T, D] with `lengths`, [N, L, D], or one array a document.

    Fewer tokens than centroids are wanted give as many centroids as tokens. `centroids` [K, D], of length 1, were
    trained elsewhere, say in another index, and stand in place of those that would be. Documents may be empty: no
    search finds them. Raises ValueError for other shapes, and NaN or infinity, with the row named.
    """
    settings = settings or IndexSettings()
    there = ragged("vectors", vectors, lengths)
    values = there.values
    if not values.is_floating_point() or not values.shape[1]:
        raise ValueError(f"want floating-point vectors [T, D], D of at least 1, got {values.dtype} {[*values.shape]}")
    given = None if centroids is None else rows_of_width("centroids", centroids, values.shape[1])
    if given is not None:
        check_rows("centroids", given)
        if len(values) and not len(given):
            raise ValueError("want at least one of the centroids, got none")
    book = fit(values, settings, given)
    n_bytes = -(-values.shape[1] * settings.bits // 8) if len(book.buckets.weights) else 0
    codes = torch.zeros(len(values), dtype=_code_dtype(len(book.centroids)), device=values.device)
    residuals = torch.zeros(len(values), n_bytes, dtype=torch.uint8, device=values.device)
    for rows, block in blocks(values):
        own = nearest(block, book.centroids)
        codes[rows] = own.to(codes.dtype)
        if n_bytes:
            residuals[rows] = residual_codes.encode(block - book.centroids[own], book.buckets.cutoffs)
    cells = _cells(codes, there.lengths, len(book.centroids))
    return CentroidIndex(
        book.centroids, codes, there.lengths, residuals, book.buckets.weights, *cells, is_numpy=there.is_numpy
    )


def _cells(codes: torch.Tensor, lengths: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The documents of each cell, each once and ascending, one cell after the other; and how many each has."""
    documents = torch.arange(len(lengths), dtype=torch.int64, device="cpu").repeat_interleave(lengths)
    pairs = (codes.long() * max(len(lengths), 1) + documents.to(codes.device)).unique()
    members = pairs % max(len(lengths), 1)
    cell_sizes = (pairs // max(len(lengths), 1)).cpu().bincount(minlength=k).to(codes.device)
    return members, cell_sizes


def _code_dtype(k: int) -> torch.dtype:
    return torch.uint8 if k <= 2**8 else torch.int16 if k <= 2**15 else torch.int32
