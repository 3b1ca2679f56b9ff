"""Rows of arrays from all processes of a run, in the order of their ranks; tensors only, no pickles travel."""

from __future__ import annotations

import numpy as np
import torch
from torch import distributed


def world_size() -> int:
    """How many processes train together; 1 where none do."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def gather_rows(array: np.ndarray) -> np.ndarray:
    """`array` [n, ...] of every process, joined; the n may differ, the rest may not. All processes must call it."""
    if world_size() == 1:
        return array
    device = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
    # bytes travel: no backend knows every dtype
    width = int(np.prod(array.shape[1:], dtype=np.int64)) * array.itemsize
    own = torch.from_numpy(np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)).to(device)
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world_size())]
    distributed.all_gather(sizes, torch.tensor([len(array)], dtype=torch.int64, device=device))
    counts = [int(size) for size in sizes]
    padded = torch.zeros(max(counts), width, dtype=torch.uint8, device=device)
    padded[: len(array)] = own.reshape(len(array), width)
    parts = [torch.zeros_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    joined = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).cpu().numpy()
    return joined.reshape(-1).view(array.dtype).reshape(len(joined), *array.shape[1:])
