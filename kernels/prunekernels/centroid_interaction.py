"""Centroid interaction and centroid pruning: MaxSim of which a document token is its centroid (PLAID).

    s(q, d) = sum over tokens i of q of  w_i max over tokens j of d of  S[c_j, i]
    pruned: only over tokens j whose centroid is kept; PLAID keeps those with  max over i of S[c, i] >= t

S holds the similarity of every centroid with every token of the question, c_j is the centroid of token j (Santhanam et
al. 2022, arXiv:2205.09707, equations 3 to 5). Higher = closer. A token costs one row of S, which lies in the cache, in
place of D products. Any table of similarities will do, also one row a token, or agreeing bits (`binary_codes`).
"""

from __future__ import annotations

import torch

from prunekernels._finite import check_finite
from prunekernels._precision import full_precision
from prunekernels._ragged import Lengths, check_lengths, groups, maxima
from prunekernels.max_sim import check_weights, sum_of_maxima

# tokens that are looked up at a time
ROWS = 2**16


@full_precision
def centroid_interaction(
    similarities: torch.Tensor,
    codes: torch.Tensor,
    lengths: Lengths,
    weights: torch.Tensor | None = None,
    is_kept: torch.Tensor | None = None,
) -> torch.Tensor:
    """Score documents of `codes` [T] (whole numbers in [0, K)), ragged by `lengths` [N]; float32 [N].

    `similarities` [K, Q] of centroids with the question's tokens, `weights` [Q] of these; `is_kept` [K] says which
    centroids count, as `similarities.amax(1) >= 0.5` does. A document of which no token is left scores -inf. No
    gradient. Raises ValueError for other shapes and dtypes, lengths that do not fit, a code out of range, and NaN or
    infinity, with the row named on a CPU.
    """
    _check(similarities, codes, weights, is_kept)
    sizes = check_lengths("lengths", lengths, len(codes))
    table = similarities.float()
    scores = torch.full((len(sizes),), -torch.inf, dtype=torch.float32, device=table.device)
    ids = torch.zeros(table.shape[1], dtype=torch.int64, device=table.device)
    for some, rows in groups(sizes, ROWS):
        own, left = codes[rows], sizes[some]
        if is_kept is not None:
            own, left = _without_pruned(own, left, is_kept)
        found = sum_of_maxima(maxima(table, left, own), weights, ids, 1)[0]
        scores[some] = found.masked_fill((left == 0).to(found.device), -torch.inf)
    return scores


def _without_pruned(
    codes: torch.Tensor, lengths: torch.Tensor, is_kept: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The codes that are kept, and how many each document has of them."""
    kept = is_kept.index_select(0, codes.long())
    n_before = torch.nn.functional.pad(kept.cumsum(0).cpu(), (1, 0))
    ends = lengths.cumsum(0)
    return codes[kept], n_before[ends] - n_before[ends - lengths]


def _check(
    similarities: torch.Tensor, codes: torch.Tensor, weights: torch.Tensor | None, is_kept: torch.Tensor | None
) -> None:
    if similarities.ndim != 2 or codes.ndim != 1:
        raise ValueError(f"want similarities [K, Q] and codes [T], got {[*similarities.shape]} and {[*codes.shape]}")
    if not similarities.is_floating_point() or codes.is_floating_point() or codes.dtype == torch.bool:
        raise ValueError(
            f"want floating-point similarities and whole codes, got {similarities.dtype} and {codes.dtype}"
        )
    if len(codes) and not (int(codes.min()) >= 0 and int(codes.max()) < len(similarities)):
        raise ValueError(f"want codes in [0, {len(similarities)}), got {int(codes.min())} to {int(codes.max())}")
    if is_kept is not None and (is_kept.shape != similarities.shape[:1] or is_kept.dtype != torch.bool):
        raise ValueError(f"want is_kept [{len(similarities)}] of bool, got {[*is_kept.shape]} {is_kept.dtype}")
    check_weights(weights, similarities.shape[1])
    check_finite("similarities", similarities)
