"""Random patches dropped inside a vision transformer: the baseline of whatever merges or drops there.

Each image has a draw of its own, told by the seed, the block and what the image looks like there, whichever batch it is
in. The schedule is that of Zero-TPrune.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import budget
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod
from tokenpruner.methods._block_schedule import check_blocks, even_removals
from tokenpruner.methods._image_noise import image_keys, uniform


@dataclass(frozen=True)
class RandomPatches(BlockMethod):
    """Rule: a uniform draw without replacement behind each of `blocks`, counted from 1.

    `keep_ratio` of the patches are left in the end.
    """

    keep_ratio: float = 0.4
    blocks: tuple[int, ...] | None = None
    seed: int = 0

    cost: ClassVar[str] = "a hash of the hidden states, N draws a block"

    def __post_init__(self) -> None:
        super().__post_init__()
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
        """Uniform noise."""
        draws = [uniform(context.n_patches, self.seed, context.block, key) for key in image_keys(context.hidden)]
        return torch.stack(draws).to(context.hidden.device)
