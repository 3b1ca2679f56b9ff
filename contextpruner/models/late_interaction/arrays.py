"""Token vectors as their owners hold them: numpy or torch, one array with lengths, or one array a document.

What PyLate's `encode` returns, and what fast-plaid takes, goes in as it is: a list of arrays [n_i, D], one array
[N, L, D] of documents of one length, or `values` [T, D] with `lengths` [N], also a numpy memmap. Nothing is copied but
a list.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from prunekernels._ragged import check_lengths

Array = np.ndarray | torch.Tensor
Vectors = Array | Sequence[Array]
Lengths = Array | Sequence[int]


class Ragged(NamedTuple):
    """`values` [T, D] and `lengths` int64 [N] of the CPU; `is_numpy` says whose arrays results are to be."""

    values: torch.Tensor
    lengths: torch.Tensor
    is_numpy: bool

    def like(self, result: torch.Tensor) -> Array:
        """`result` as an array of the kind that was given."""
        return result.cpu().numpy() if self.is_numpy else result


def tensor_of(array: Array) -> torch.Tensor:
    """A tensor over the memory of `array`; raises ValueError for what is neither numpy nor torch."""
    if isinstance(array, torch.Tensor):
        return array.detach()
    if not isinstance(array, np.ndarray):
        raise ValueError(f"want a numpy array or a torch tensor, got {type(array).__name__}")
    with warnings.catch_warnings():
        # a memmap may not be written to, and is only read here
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(array)


def ragged(name: str, vectors: Vectors, lengths: Lengths | None = None) -> Ragged:
    """`vectors` [T, D] with `lengths` [N], [N, L, D], or one array [n_i, D] a document; else ValueError."""
    if isinstance(vectors, np.ndarray | torch.Tensor):
        values = tensor_of(vectors)
        if values.ndim == 3 and lengths is None:
            sizes = torch.full((len(values),), values.shape[1], dtype=torch.int64, device="cpu")
            return Ragged(values.reshape(-1, values.shape[2]), sizes, isinstance(vectors, np.ndarray))
        if values.ndim != 2 or lengths is None:
            raise ValueError(f"want {name} [T, D] with lengths, [N, L, D], or a list, got {[*values.shape]}")
        given = tensor_of(lengths) if isinstance(lengths, np.ndarray) else lengths
        sizes = check_lengths(f"lengths of {name}", given, len(values))
        return Ragged(values, sizes, isinstance(vectors, np.ndarray))
    return _joined(name, vectors, lengths)


def _joined(name: str, vectors: Sequence[Array], lengths: Lengths | None) -> Ragged:
    if lengths is not None:
        raise ValueError(f"a list of {name} has lengths of its own: want none beside it")
    parts = [tensor_of(each) for each in vectors]
    if not parts:
        raise ValueError(f"want at least one array of {name}: an empty list has no width")
    for place, part in enumerate(parts):
        if part.ndim != 2 or part.shape[1:] != parts[0].shape[1:] or part.dtype != parts[0].dtype:
            raise ValueError(
                f"want {name} [n, {parts[0].shape[-1]}] of {parts[0].dtype}, got {[*part.shape]} of {part.dtype} "
                f"at place {place}"
            )
    sizes = torch.tensor([len(part) for part in parts], dtype=torch.int64, device="cpu")
    return Ragged(torch.cat(parts), sizes, isinstance(vectors[0], np.ndarray))


def rows_of_width(name: str, array: Array, n_dims: int) -> torch.Tensor:
    """`array` [n, n_dims] of floating point as a tensor; raises ValueError for another shape or dtype."""
    found = tensor_of(array)
    if found.ndim != 2 or found.shape[1] != n_dims or not found.is_floating_point():
        raise ValueError(f"want {name} [n, {n_dims}] of floating point, got {[*found.shape]} {found.dtype}")
    return found
