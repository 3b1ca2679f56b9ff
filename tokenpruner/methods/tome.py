"""ToMe (Bolya et al., ICLR 2023, arXiv:2210.09461): tokens of a vision transformer that are alike become one.

Behind each block the patches at even places look for their most similar one at odd places, by the cosine of their
attention keys averaged over the heads; the r best matched join it, and the token that comes out is their mean, each
weighted by the number of patches it stands for. Class, distillation and register tokens neither join nor are joined.
Every later attention adds the logarithm of that number to its scores (proportional attention; the paper leaves it
out for models trained as masked autoencoders).

The paper merges between a block's attention and its MLP; here that is at the end of the block. The MLP of a block
thus still sees the r tokens, which costs their share of one MLP per block more and averages what the MLP made of
them, rather than what went into it. Behind the last block nothing is merged unless `r` says so for every block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import budget
from prunekernels.bipartite_merge import bipartite_merge
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod, Read, Reduced


@dataclass(frozen=True)
class ToMe(BlockMethod):
    """Paper: Bolya et al. 2023, ICLR (arXiv:2210.09461); patches that are alike become one, behind every block.

    `r` tokens merge behind each block but the last, or as many as a tuple says behind each of the first blocks.

    With `keep_ratio` that fraction of the patches is left in the end, the merges spread evenly over the blocks, and
    `r` is not read. Behind one block at most half of the patches merge: a larger `r` is cut to that.
    """

    keep_ratio: float | None = None
    r: int | tuple[int, ...] = 8
    proportional: bool = True

    cost: ClassVar[str] = "N^2 d / 2 FLOP a block for the cosines"
    published_count: ClassVar[str] = "r = 8 to 16 behind each block"
    reads: ClassVar[frozenset[Read]] = frozenset({"keys"})
    merges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_ratio is not None:
            budget.check_keep_ratio(self.keep_ratio)
        counts = self.r if isinstance(self.r, tuple) else (self.r,)
        if any(isinstance(count, bool) or not isinstance(count, int) or count < 0 for count in counts):
            raise ValueError(f"want r as a count of at least 0, or a tuple of such, got {self.r!r}")

    @property
    def keeps_all(self) -> bool:
        """True where nothing merges."""
        if self.keep_ratio is not None:
            return self.keep_ratio == 1
        return not any(self.r) if isinstance(self.r, tuple) else self.r == 0

    @property
    def weighs(self) -> bool:
        """True with proportional attention."""
        return self.proportional

    def removals(self, n_patches: int, n_blocks: int) -> Sequence[int]:
        """How many tokens merge away behind each block."""
        if isinstance(self.r, tuple) and len(self.r) > n_blocks:
            raise ValueError(f"want r for at most {n_blocks} blocks, got {len(self.r)} numbers")
        if self.keep_ratio is not None:
            return _spread(n_patches, budget.n_keep(n_patches, self.keep_ratio), n_blocks - 1)
        counts = []
        for wanted in self.r if isinstance(self.r, tuple) else [self.r] * (n_blocks - 1):
            counts.append(min(wanted, n_patches // 2))
            n_patches -= counts[-1]
        return counts

    def reduce(self, context: BlockContext, n: int) -> Reduced:
        """Merge `n` tokens of each image away."""
        keys = context.read("keys")
        metric = keys.mean(1, dtype=torch.promote_types(keys.dtype, torch.float32))
        merged = bipartite_merge(context.hidden, metric, n, context.sizes, context.protected)
        return Reduced(merged.tokens, merged.sizes, merged.target, _places(merged.target, merged.sizes.shape[1]))


def _spread(n_patches: int, n_left: int, n_blocks: int) -> list[int]:
    """Counts that lead from `n_patches` to `n_left` in `n_blocks` steps, as even as halving at most allows."""
    counts = []
    for block in range(n_blocks):
        behind = n_blocks - block - 1
        even = math.ceil((n_patches - n_left) / (behind + 1))
        # so many have to go now that halving in all later blocks can do the rest
        needed = n_patches - n_left * 2**behind
        counts.append(min(max(even, needed), n_patches // 2))
        n_patches -= counts[-1]
    return counts


def _places(target: torch.Tensor, n_left: int) -> torch.Tensor:
    """The old token at whose place each of the `n_left` new ones stands: the odd one, where several were merged."""
    old = torch.arange(target.shape[1], device=target.device).expand(target.shape)
    places = torch.zeros(len(target), n_left, dtype=torch.int64, device=target.device)
    for first in (0, 1):
        places.scatter_(1, target[:, first::2], old[:, first::2])
    return places
