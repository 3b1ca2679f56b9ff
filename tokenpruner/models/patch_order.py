"""In which order a vision tower has its patches, and which neighbours in it it says itself that it merges."""

from __future__ import annotations

import sys

import torch
from torch import nn
from transformers import vision_utils

from tokenpruner.models.image_layouts import Given

# of transformers' vision_utils: tells which patches stand in which window
WINDOWS = "get_vision_window_index"


def merged_patches(tower: nn.Module, given: Given) -> int:
    """How many patches, neighbours in the tower's order, become one token."""
    if _grid_thw(given) is None:
        return 1
    sides = [own for own in (getattr(module, "spatial_merge_size", None) for module in tower.modules()) if own]
    return int(sides[0]) ** 2 if sides else 1


def window_order(tower: nn.Module, given: Given) -> torch.Tensor | None:
    """The order in which a tower puts groups of patches, window by window; None where it leaves them.

    Raises ValueError where it makes windows in a way that is not known.
    """
    if WINDOWS not in vars(sys.modules[type(tower).__module__]):
        return None
    sizes = {name: getattr(tower, name, None) for name in ("spatial_merge_size", "window_size", "patch_size")}
    if None in sizes.values() or not hasattr(tower, "fullatt_block_indexes"):
        raise ValueError(f"{type(tower).__name__} puts patches into windows, and which is where is not known")
    order: torch.Tensor = getattr(vision_utils, WINDOWS)(_grid_thw(given), **sizes)[0]
    return order


def _grid_thw(given: Given) -> object:
    """Frames, rows and columns of each picture; None where the model takes none."""
    return next((value for name, value in given.items() if name.endswith("grid_thw") and value is not None), None)
