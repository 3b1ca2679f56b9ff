"""Which tokens of each document an index keeps: the top p percent by attention (HPC-ColPali, arXiv:2506.21601).

    kept of d = the ceil(p |d|) tokens of d with the highest attention, ties to the earlier token

What attention is, is the caller's: what a token receives in the last layer (`prunekernels.attention_received`), or any
other number. Random tokens are the baseline to beat; merging (`prunekernels.pool`) beats both on page images
(Light-ColPali, arXiv:2506.04997).
"""

from __future__ import annotations

import torch

from contextpruner.models.late_interaction.arrays import Array, Lengths, ragged, tensor_of
from prunekernels import select
from prunekernels.budget import n_keep


def salient_tokens(attention: Array, lengths: Lengths, keep_ratio: float) -> tuple[Array, Array]:
    """The places of the tokens that stay, ascending int64, and how many each document has of them, int64 [N].

    `attention` [T] by token, ragged by `lengths` [N]; of a document with tokens at least one stays. Both come back as
    the kind of array that `attention` is. Raises ValueError for other shapes, NaN, and a keep_ratio outside (0, 1].
    """
    scores = tensor_of(attention)
    if scores.ndim != 1:
        raise ValueError(f"want attention [T], got {[*scores.shape]}")
    there = ragged("attention", attention[:, None], lengths)
    sizes, which = there.lengths.unique(return_inverse=True)
    kept = torch.tensor([n_keep(size, keep_ratio) for size in sizes.tolist()], dtype=torch.int64, device="cpu")[which]
    ids = torch.arange(len(kept), device="cpu").repeat_interleave(there.lengths).to(scores.device)
    rows = select.top(scores, kept.to(scores.device), segments=ids)
    return there.like(rows), there.like(kept)
