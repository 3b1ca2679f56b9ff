"""Random patches dropped inside a vision transformer: the baseline of whatever merges or drops there.

The noise hangs on the seed and the block, not on the image: every image of a size loses the same patches, whichever
batch it is in, and every device drops the same. The schedule is that of Zero-TPrune.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from prunekernels import budget
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod
from tokenpruner.methods._block_schedule import check_blocks, even_removals

# apart from each other for any seeds and blocks that occur
STRIDE = 1_000_003


@dataclass(frozen=True)
class RandomPatches(BlockMethod):
    """A uniform draw without replacement behind each of `blocks`, counted from 1; `keep_ratio` are left in the end."""

    keep_ratio: float = 0.4
    blocks: tuple[int, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        budget.check_keep_ratio(self.keep_ratio)
        check_blocks(self.blocks)

    @property
    def keeps_all(self) -> bool:
        """True where nothing is dropped."""
        return self.keep_ratio == 1

    def removals(self, n_patches: int, n_blocks: int) -> Sequence[int]:
        """How many patches are dropped behind each block."""
        return even_removals(n_patches, n_blocks, self.keep_ratio, self.blocks)

    def importance(self, context: BlockContext) -> torch.Tensor:
        """Uniform noise, the same for each image."""
        generator = torch.Generator().manual_seed(self.seed * STRIDE + context.block)
        noise = torch.rand(context.n_patches, generator=generator)
        return noise.to(context.hidden.device).expand(len(context.hidden), -1)
