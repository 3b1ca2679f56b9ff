"""Fewer vectors for each page in late-interaction retrieval: what ColPali, ColQwen2 and their kin put out, pooled.

A page of N vectors is left with max(N // factor, 1), each of which stands for those that are like it. Behind the
projector this costs less than anywhere before it (Ma et al. 2025, Light-ColPali). The methods are those of
`prunekernels.pool`. No model is needed here: vectors may come from `prune()` or from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from prunekernels.pool import PoolMethod, pool


class PooledPages(NamedTuple):
    """Page by page `vectors` [M, D] in the dtype given, as an index of multi-vectors takes them.

    `assignment` int64 [L] tells which of them stands for each of the page's tokens, -1 for padding.
    """

    vectors: list[torch.Tensor]
    assignment: list[torch.Tensor]


def pool_embeddings(
    embeddings: torch.Tensor | Sequence[torch.Tensor],
    factor: int,
    method: PoolMethod = "hierarchical",
    *,
    protected: int = 0,
    mask: torch.Tensor | None = None,
) -> PooledPages:
    """Pool the `embeddings` of pages, a batch [B, L, D] or one [L, D] each, by `factor`.

    Padding, on either side, is what `mask` [B, L] says, and rows of zeros where there is none: so these models mark it,
    also when they are pruned. The first `protected` vectors of a page stay as they are and come first; the others
    follow in the order of their clusters' first members. `method` is "hierarchical", "pylate", "colpali" or "kmeans",
    of which the last may leave fewer vectors where some are equal. The result is part of no graph. Raises ValueError
    for other shapes and for NaN or infinity, with the page named; ImportError where scipy is missing.
    """
    pages = _pages(embeddings, mask)
    pooled = PooledPages([], [])
    for number, page in enumerate(pages):
        real = (page != 0).any(-1) if mask is None else mask[number].to(page.device) != 0
        kept = page[real]
        bad = ~kept.isfinite().all(-1)
        if bad.any():
            raise ValueError(f"token {int(real.nonzero()[bad][0])} of page {number} has NaN or infinity")
        found = pool(kept, factor, method, protected)
        assignment = torch.full((len(page),), -1, dtype=torch.int64, device=page.device)
        assignment[real] = found.assignment
        pooled.vectors.append(found.vectors)
        pooled.assignment.append(assignment)
    return pooled


def _pages(embeddings: torch.Tensor | Sequence[torch.Tensor], mask: torch.Tensor | None) -> list[torch.Tensor]:
    if isinstance(embeddings, torch.Tensor):
        if embeddings.ndim != 3:
            raise ValueError(f"want embeddings [B, L, D], or a list of one [L, D] a page, got {[*embeddings.shape]}")
        if mask is not None and mask.shape != embeddings.shape[:2]:
            raise ValueError(
                f"want a mask {[*embeddings.shape[:2]]}, got {[*mask.shape]}: behind prune(), which shortens rows, "
                "give none, and rows of zeros are padding"
            )
        return [*embeddings]
    if mask is not None:
        raise ValueError("want no mask with a list of pages, each of which has a length of its own")
    for number, page in enumerate(embeddings):
        if not isinstance(page, torch.Tensor) or page.ndim != 2:
            got = [*page.shape] if isinstance(page, torch.Tensor) else type(page).__name__
            raise ValueError(f"page {number}: want embeddings [L, D], got {got}")
    return [*embeddings]
