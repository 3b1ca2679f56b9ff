"""Residuals of vectors in 1, 2 or 4 bits a dimension, as ColBERTv2 and PLAID keep them beside a centroid.

    bucket(r) = how many of the 2^b - 1 cutoffs lie below r              decoded r = weight of its bucket
    cutoffs   = quantiles 1/2^b, 2/2^b, ...        weights = quantiles 0.5/2^b, 1.5/2^b, ... of all entries of residuals

(Santhanam et al. 2022, arXiv:2112.01488, section 3.3). Every bucket holds as many entries as any other. A byte holds
8 / b dimensions, the first one lowest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from prunekernels._finite import check_finite
from prunekernels._precision import full_precision
from prunekernels._unit import check_rows

BITS = (1, 2, 4)

# entries that are looked up at a time (16 MiB of float32)
MAX_ENTRIES = 2**22


class Buckets(NamedTuple):
    """`cutoffs` float32 [2^b - 1] and `weights` float32 [2^b], both ascending."""

    cutoffs: torch.Tensor
    weights: torch.Tensor


@full_precision
def fit(residuals: torch.Tensor, bits: int) -> Buckets:
    """The buckets for `residuals` [N, D] with at least one entry; interpolated between entries, as numpy does it.

    Raises ValueError for other shapes and bits, and NaN or infinity, with the row named on a CPU.
    """
    check_bits(bits)
    if residuals.ndim != 2 or not residuals.numel():
        raise ValueError(f"want residuals [N, D], N and D of at least 1, got {[*residuals.shape]}")
    check_rows("residuals", residuals)
    entries = residuals.float().flatten().sort().values.double()
    at = torch.arange(1, 2 ** (bits + 1), dtype=torch.float64, device=entries.device) / 2 ** (bits + 1)
    place = at * (len(entries) - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=len(entries) - 1)
    found = torch.lerp(entries[low], entries[high], place - low).float()
    # in turn the middle of a bucket and its upper end
    return Buckets(found[1::2].contiguous(), found[::2].contiguous())


@full_precision
def encode(residuals: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
    """`residuals` [N, D] as uint8 [N, ceil(D b / 8)], by `cutoffs` [2^b - 1]; what a byte has left over is 0."""
    bits = _bits_of(len(cutoffs) + 1)
    if residuals.ndim != 2:
        raise ValueError(f"want residuals [N, D], got {[*residuals.shape]}")
    check_rows("residuals", residuals)
    n_rows, n_dims = residuals.shape
    in_byte = 8 // bits
    n_bytes = -(-n_dims // in_byte)
    shifts = torch.arange(in_byte, dtype=torch.int32, device=residuals.device) * bits
    packed = torch.zeros(n_rows, n_bytes, dtype=torch.uint8, device=residuals.device)
    height = max(1, MAX_ENTRIES // max(n_dims, 1))
    for first in range(0, n_rows, height):
        some = residuals[first : first + height].float().contiguous()
        buckets = torch.bucketize(some, cutoffs.to(some.device, torch.float32), out_int32=True)
        buckets = torch.nn.functional.pad(buckets, (0, n_bytes * in_byte - n_dims))
        bytes_ = (buckets.view(len(some), n_bytes, in_byte) << shifts).sum(-1)
        packed[first : first + height] = bytes_.to(torch.uint8)
    return packed


@full_precision
def decode(packed: torch.Tensor, weights: torch.Tensor, n_dims: int) -> torch.Tensor:
    """float32 [N, n_dims] of what `encode` packed, by `weights` [2^b]."""
    bits = _bits_of(len(weights))
    in_byte = 8 // bits
    if packed.ndim != 2 or packed.dtype != torch.uint8 or packed.shape[1] != -(-n_dims // in_byte):
        raise ValueError(
            f"want uint8 [N, {-(-n_dims // in_byte)}] of {n_dims} dimensions, got {packed.dtype} {[*packed.shape]}"
        )
    check_finite("weights", weights[:, None])
    every = torch.arange(256, dtype=torch.int64, device=weights.device)
    shifts = torch.arange(in_byte, dtype=torch.int64, device=weights.device) * bits
    table = weights.float()[(every[:, None] >> shifts) & (2**bits - 1)].to(packed.device)
    if packed.is_cpu:
        # numpy looks bytes up as they are, torch would make whole numbers of eight bytes of them first
        found = torch.from_numpy(np.take(table.numpy(), packed.numpy(), axis=0))
    else:
        found = table[packed.long()]
    return found.view(len(packed), packed.shape[1] * in_byte)[:, :n_dims]


def check_bits(bits: int) -> None:
    if bits not in BITS:
        raise ValueError(f"want 1, 2 or 4 bits, got {bits}")


def _bits_of(n_buckets: int) -> int:
    for bits in BITS:
        if n_buckets == 2**bits:
            return bits
    raise ValueError(f"want 2, 4 or 16 buckets, got {n_buckets}")
