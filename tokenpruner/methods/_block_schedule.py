"""Behind which blocks of a vision transformer a method drops, and how many patches it leaves there.

Blocks are counted from 1. By default they lie where the published settings of Zero-TPrune for 12 blocks have them,
behind 1, 3, 6, 9 and 11, at the same fractions of any other depth. Each keeps the same fraction of what reaches it:

    left behind the i-th of S = n_keep(N, keep_ratio^(i / S))
"""

from __future__ import annotations

from prunekernels import budget

DEPTHS = (1 / 12, 3 / 12, 6 / 12, 9 / 12, 11 / 12)


def check_blocks(blocks: tuple[int, ...] | None) -> None:
    """Raise ValueError unless `blocks` are None or ascend from 1 or later."""
    if blocks is None:
        return
    if not blocks or list(blocks) != sorted({*blocks}):
        raise ValueError(f"want blocks in ascending order, at least one, got {blocks}")
    if blocks[0] < 1:
        raise ValueError(f"want blocks counted from 1, got {blocks[0]}")


def pruning_blocks(blocks: tuple[int, ...] | None, n_blocks: int) -> list[int]:
    """The `blocks` themselves, or those by depth; raises ValueError where the model has fewer."""
    if blocks is None:
        # behind the last block nothing would be saved
        return sorted({min(max(round(n_blocks * depth), 1), n_blocks - 1) for depth in DEPTHS} - {0})
    if blocks[-1] > n_blocks:
        raise ValueError(f"want blocks up to {n_blocks}, as many as the model has, got {blocks[-1]}")
    return list(blocks)


def even_removals(n_patches: int, n_blocks: int, keep_ratio: float, blocks: tuple[int, ...] | None) -> list[int]:
    """How many of `n_patches` are dropped behind each block, `keep_ratio` of them left in the end."""
    chosen = pruning_blocks(blocks, n_blocks)
    counts, left = [0] * n_blocks, n_patches
    for number, block in enumerate(chosen, 1):
        wanted = budget.n_keep(n_patches, keep_ratio ** (number / len(chosen)))
        counts[block - 1], left = left - wanted, wanted
    return counts
