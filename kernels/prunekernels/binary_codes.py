"""Binary codes of vectors and of centroids, and late interaction by how many bits agree.

    signs of a vector       bit i is 1 where entry i is above 0
    index of a centroid     its number in ceil(log2 K) bits: the binary form of HPC-ColPali (Duong and Pham 2025,
                            arXiv:2506.21601)
    agreeing(a, b)          bits - hamming(a, b)

    score(q, d) = sum over tokens i of q of  max over tokens j of d of  agreeing(q_i, d_j)

Higher = closer. Numbers of centroids are arbitrary: that two of them share bits says nothing of the centroids. Signs
are what stays near the cosine, whose angle is about pi hamming / bits. Bits stand in bytes, the first one lowest.
"""

from __future__ import annotations

import torch

from prunekernels._precision import full_precision
from prunekernels._ragged import Lengths, check_lengths, groups
from prunekernels._unit import check_rows
from prunekernels.max_sim import max_sim
from prunekernels.residual_codes import decode, encode

# tokens whose bits are unpacked at a time
ROWS = 2**13


@full_precision
def signs(vectors: torch.Tensor) -> torch.Tensor:
    """`vectors` [N, D] as uint8 [N, ceil(D / 8)]; raises ValueError for NaN or infinity, with the row named."""
    check_rows("vectors", vectors)
    return encode(vectors, vectors.new_zeros(1, dtype=torch.float32))


@full_precision
def numbers(codes: torch.Tensor, n_codes: int) -> torch.Tensor:
    """`codes` [N] in [0, n_codes) as uint8 [N, bytes] that hold their ceil(log2 n_codes) bits."""
    if codes.ndim != 1 or codes.is_floating_point():
        raise ValueError(f"want whole codes [N], got {[*codes.shape]} {codes.dtype}")
    if len(codes) and not (int(codes.min()) >= 0 and int(codes.max()) < n_codes):
        raise ValueError(f"want codes in [0, {n_codes}), got {int(codes.min())} to {int(codes.max())}")
    n_bytes = max(1, -(-(n_codes - 1).bit_length() // 8))
    shifts = torch.arange(n_bytes, dtype=torch.int64, device=codes.device) * 8
    return ((codes.long()[:, None] >> shifts) & 255).to(torch.uint8)


@full_precision
def agreeing(one: torch.Tensor, other: torch.Tensor, n_bits: int) -> torch.Tensor:
    """How many of `n_bits` bits agree, of each row of `one` [A, bytes] and each of `other` [B, bytes]: [A, B]."""
    _check_packed(one, other, n_bits)
    # bits as -1 and 1: their product is agreeing minus differing ones, exact in float32
    return (_unpacked(one, n_bits) @ _unpacked(other, n_bits).T + n_bits) / 2


@full_precision
def agreement(questions: torch.Tensor, documents: torch.Tensor, lengths: Lengths, n_bits: int) -> torch.Tensor:
    """Score `documents` [T, bytes], ragged by `lengths` [N], against the tokens of one question [Q, bytes].

    float32 [N] in [0, Q n_bits]; -inf for a document without tokens. Raises ValueError for other shapes and dtypes.
    """
    _check_packed(questions, documents, n_bits)
    sizes = check_lengths("lengths", lengths, len(documents))
    asked = _unpacked(questions, n_bits)
    found = [max_sim(asked, _unpacked(documents[rows], n_bits), sizes[some]) for some, rows in groups(sizes, ROWS)]
    scores = torch.cat(found) if found else asked.new_zeros(0)
    return (scores + len(questions) * n_bits) / 2


def _unpacked(packed: torch.Tensor, n_bits: int) -> torch.Tensor:
    return decode(packed, torch.tensor([-1.0, 1.0], dtype=torch.float32, device=packed.device), n_bits)


def _check_packed(one: torch.Tensor, other: torch.Tensor, n_bits: int) -> None:
    for packed in (one, other):
        if packed.ndim != 2 or packed.dtype != torch.uint8 or packed.shape[1] != -(-n_bits // 8):
            raise ValueError(
                f"want uint8 [N, {-(-n_bits // 8)}] for {n_bits} bits, got {packed.dtype} {[*packed.shape]}"
            )
