"""Centroids and residual buckets of an index, from a sample of its tokens that hangs on no order.

A token's place in the sample comes from a hash of its own numbers and the seed, so that the same documents in another
order, or in other pieces, train the same centroids to the bit. Number of centroids as in PLAID: 2^floor(log2(16 sqrt
T)), at most T. The sample holds `SAMPLE` tokens a centroid; a twentieth of it, which trains no centroid, says what
residuals are like.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from prunekernels import residual_codes
from prunekernels._products import filled, products
from prunekernels._unit import check_rows, unit_rows
from prunekernels.kmeans import kmeans

# tokens a centroid that are trained on, and entries of the residuals that buckets are fitted to
SAMPLE, MAX_RESIDUALS = 64, 2**22

# rows that are read, and similarities that are held, at a time
ROWS, MAX_PAIRS = 2**14, 2**22


@dataclass(frozen=True)
class IndexSettings:
    """`n_centroids` None is PLAID's number, 2^floor(log2(16 sqrt T)); `bits` a dimension of residuals, 0 for none."""

    n_centroids: int | None = None
    bits: int = 4
    iterations: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_centroids is not None and self.n_centroids < 1:
            raise ValueError(f"want n_centroids of at least 1, got {self.n_centroids}")
        if self.bits:
            residual_codes.check_bits(self.bits)
        if self.iterations < 1:
            raise ValueError(f"want at least 1 iteration, got {self.iterations}")


class Codebook(NamedTuple):
    """`centroids` float32 [K, D] of length 1; the `buckets` of residuals, without entries where there are none."""

    centroids: torch.Tensor
    buckets: residual_codes.Buckets


def n_centroids_for(n_tokens: int) -> int:
    """PLAID's number of centroids for an index of `n_tokens`."""
    return min(n_tokens, 2 ** int(math.log2(16 * math.sqrt(n_tokens)))) if n_tokens else 0


def blocks(values: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Rows of `values` [T, D] in float32 and of length 1, a few at a time; raises ValueError for one not finite."""
    for first in range(0, len(values), ROWS):
        rows = slice(first, min(first + ROWS, len(values)))
        block = values[rows]
        try:
            check_rows("vectors", block)
        except ValueError:
            # said again of all rows, whose numbers are the caller's
            check_rows("vectors", values)
            raise
        yield rows, unit_rows(block)


def fit(values: torch.Tensor, settings: IndexSettings, centroids: torch.Tensor | None = None) -> Codebook:
    """Train centroids on `values` [T, D] where none are given, and the buckets of what they leave."""
    wanted = min(len(values), settings.n_centroids or n_centroids_for(len(values)))
    k = wanted if centroids is None else len(centroids)
    order = _order(values, settings.seed)[: SAMPLE * k]
    sample = unit_rows(values[order.to(values.device)])
    most = max(1, MAX_RESIDUALS // values.shape[1])
    n_held = min(len(sample) // 20, most)
    if centroids is not None:
        trained = unit_rows(centroids).to(values.device)
    elif k:
        # of too few tokens those that train say what residuals are like as well
        n_held = n_held if len(sample) - n_held >= k else 0
        trained = kmeans(sample[n_held:], k, iterations=settings.iterations, seed=settings.seed).centroids
    else:
        trained = sample
    held = sample[: n_held or most]
    if not settings.bits or not len(held):
        nothing = trained.new_zeros(0)
        return Codebook(trained, residual_codes.Buckets(nothing, nothing))
    return Codebook(trained, residual_codes.fit(held - trained[nearest(held, trained)], settings.bits))


def nearest(rows: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """The centroid of the largest product with each of `rows` [N, D], the lower one in a tie: int64 [N]."""
    height = max(1, MAX_PAIRS // max(len(centroids), 1))
    columns = filled(centroids)
    found = [products(block, columns)[:, : len(centroids)].argmax(1) for block in rows.split(height)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64, device=rows.device)


def _order(values: torch.Tensor, seed: int) -> torch.Tensor:
    """The places of all tokens in the order of their hashes, int64 [T]."""
    hashes = [_hashes(block, seed) for _, block in blocks(values)]
    return (torch.cat(hashes) if hashes else torch.zeros(0, dtype=torch.int64, device="cpu")).argsort(stable=True)


def _hashes(block: torch.Tensor, seed: int) -> torch.Tensor:
    """int64 [N]: a number for each row of float32 `block` [N, D], out of its bits and the seed alone."""
    generator = torch.Generator("cpu").manual_seed(seed)
    factors = torch.randint(2**62, (block.shape[1],), generator=generator, dtype=torch.int64, device="cpu") * 2 + 1
    words = (block + 0.0).contiguous().cpu().view(torch.int32).long()
    found = (words * factors).sum(1)
    # the upper bits of a product hang on all of the lower ones: mixed down, and multiplied once more
    return (found ^ (found >> 32)) * int(factors[0])
