"""What towers that take packed patches have in common, by which they are told, and what their blocks cost.

FLOPs, a multiply and an add counted as two, of P patches that see each other within sequences or windows of n:

    2 P sum of (inputs x outputs)      linear layers
    4 C sum of n^2                     scores and weighted values of heads that are C wide together
"""

from __future__ import annotations

import inspect

import torch
from torch import nn
from torch.nn.functional import pad
from transformers import vision_utils

from tokenpruner.models.patch_order import window_order

# what the tower takes, and each of its blocks beside tokens
TAKES, PER_BLOCK = ("hidden_states", "grid_thw"), ("cu_seqlens", "position_embeddings")
# attributes that tell where windows are
WINDOWS = ("spatial_merge_size", "window_size", "patch_size")


def is_packed(module: nn.Module) -> bool:
    """Whether a module is such a tower, by what it and its blocks take."""
    blocks = getattr(module, "blocks", None)
    if not isinstance(blocks, nn.ModuleList) or not len(blocks) or not hasattr(module, "patch_embed"):
        return False
    takes = inspect.signature(type(module).forward).parameters
    own = inspect.signature(type(blocks[0]).forward).parameters
    has_merge = isinstance(getattr(module, "spatial_merge_size", None), int)
    return has_merge and {*TAKES} <= {*takes} and {*PER_BLOCK} <= {*own}


def block_flops(block: nn.Module, n_patches: int, n_pairs: int) -> int:
    """FLOPs of a block that `n_patches` enter, of which `n_pairs` see each other."""
    linear = [each for each in block.modules() if isinstance(each, nn.Linear)]
    # the projection behind the heads is as wide as they are together, all others are wider on one side
    width = min((max(each.in_features, each.out_features) for each in linear), default=0)
    return 2 * n_patches * sum(each.in_features * each.out_features for each in linear) + 4 * n_pairs * width


def pairs(ends: torch.Tensor) -> int:
    """How many pairs of patches see each other in sequences that end at `ends` [n + 1]; waits for the device."""
    return int(ends.diff().long().square().sum())


def tower_flops(tower: nn.Module, grids: torch.Tensor) -> int:
    """FLOPs of the blocks for pictures of `grids` int64 [n, 3], frames, rows and columns of patches."""
    frames = (grids[:, 1] * grids[:, 2]).repeat_interleave(grids[:, 0])
    whole = pad(frames.cumsum(0), (1, 0))
    full, windows = getattr(tower, "fullatt_block_indexes", None), whole
    if full is not None and window_order(tower, {TAKES[1]: grids}) is not None:
        settings = {name: getattr(tower, name) for name in WINDOWS}
        windows = vision_utils.get_vision_window_index(grids, **settings)[1]
    n_patches, of_whole, of_windows = int(whole[-1]), pairs(whole), pairs(windows)
    blocks: nn.ModuleList = getattr(tower, "blocks")  # noqa: B009
    return sum(
        block_flops(block, n_patches, of_whole if full is None or number in full else of_windows)
        for number, block in enumerate(blocks)
    )
