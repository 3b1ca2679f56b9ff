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
    own = torch.frombuffer(bytearray(array.tobytes()) or bytearray(1), dtype=torch.uint8)[: array.nbytes].to(device)
    sizes = [torch.zeros(2, dtype=torch.int64, device=device) for _ in range(world_size())]
    distributed.all_gather(sizes, torch.tensor([len(own), len(array)], dtype=torch.int64, device=device))
    lengths, rows = zip(*(size.tolist() for size in sizes), strict=True)
    if not max(lengths):
        # rows without numbers are rows
        return np.zeros((sum(rows), *array.shape[1:]), array.dtype)
    padded = torch.nn.functional.pad(own, (0, max(lengths) - len(own)))
    parts = [torch.zeros_like(padded) for _ in lengths]
    distributed.all_gather(parts, padded)
    joined = b"".join(part[:length].cpu().numpy().tobytes() for part, length in zip(parts, lengths, strict=True))
    return np.frombuffer(bytearray(joined), array.dtype).reshape(sum(rows), *array.shape[1:])
