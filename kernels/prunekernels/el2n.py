"""EL2N, the error L2-norm of Paul et al. 2021 (arXiv:2107.07075).

    el2n = || softmax(logits) - onehot(label) ||_2 = sqrt(sum_{c != y} p_c^2 + (sum_{c != y} p_c)^2)

Higher means harder; the paper averages the score over about ten trainings. The label's own term is the sum of
the others, so that nothing cancels where p_y rounds to 1. One pass over the logits, which are never copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from prunekernels._backend import Backend, jit, next_power_of_2, use_triton
from prunekernels._precision import full_precision

if TYPE_CHECKING:
    import triton.language as tl


@full_precision
def el2n(logits: torch.Tensor, labels: torch.Tensor, *, backend: Backend = "auto") -> torch.Tensor:
    """Score `logits` [N, C] against `labels` [N], whole numbers; returns float32 [N] in [0, sqrt(2)].

    A logit may be -inf: a class that is ruled out. Raises ValueError for other shapes and dtypes, a label outside
    [0, C), and for a row that has no score: with NaN, with +inf, or with all classes ruled out.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"want [N, C] and [N], got {[*logits.shape]} and {[*labels.shape]}")
    if not logits.is_floating_point() or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"want floating-point logits and whole labels, got {logits.dtype} and {labels.dtype}")
    # narrow dtypes are no indices, or masks
    labels = labels.to(torch.int64)
    bad = (labels < 0) | (labels >= logits.shape[1])
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(f"row {row}: want a label in [0, {logits.shape[1]}), got {int(labels[row])}")
    scores = (el2n_triton if use_triton(logits, backend) and len(logits) else el2n_torch)(logits, labels).float()
    if not scores.isfinite().all():
        raise ValueError(f"row {int((~scores.isfinite()).nonzero()[0])}: its logits have NaN or infinity")
    return scores


def el2n_torch(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Reference: the formula as printed, in at least float32."""
    error = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
    rows = torch.arange(len(labels), device=labels.device)
    error[rows, labels] = 0
    error[rows, labels] = error.sum(-1)
    return error.norm(dim=-1)


def el2n_triton(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """A few rows a program, their columns block by block."""
    n_rows, n_classes = logits.shape
    columns = min(next_power_of_2(n_classes), 2048)
    rows = max(1, 2048 // columns)
    scores = torch.empty(n_rows, dtype=torch.float32, device=logits.device)
    _el2n_kernel[(-(-n_rows // rows),)](
        logits, labels, scores, n_rows, n_classes, logits.stride(0), logits.stride(1), labels.stride(0),
        ROWS=rows, COLUMNS=columns,
    )  # fmt: skip
    return scores


@jit
def _el2n_kernel(  # type: ignore[no-untyped-def]
    logits, labels, scores, n_rows, n_classes, stride_r, stride_c, stride_l,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    is_row = rows < n_rows
    label = tl.load(labels + rows * stride_l, mask=is_row, other=0)
    own = tl.load(logits + rows * stride_r + label * stride_c, mask=is_row, other=0.0).to(tl.float32)
    # the maximum starts finite, since inf - inf is NaN; the sums leave the label out
    peak = tl.maximum(own, -1e30)
    other = tl.zeros([ROWS], tl.float32)
    square = tl.zeros([ROWS], tl.float32)
    for first in range(0, n_classes, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        wanted = is_row[:, None] & (columns < n_classes)[None, :] & (columns[None, :] != label[:, None])
        place = logits + rows[:, None] * stride_r + columns[None, :].to(tl.int64) * stride_c
        values = tl.load(place, mask=wanted, other=float("-inf")).to(tl.float32)
        new_peak = tl.maximum(peak, tl.max(values, 1))
        scale = tl.exp(peak - new_peak)
        exponentials = tl.exp(values - new_peak[:, None])
        other = scale * other + tl.sum(exponentials, 1)
        square = scale * scale * square + tl.sum(exponentials * exponentials, 1)
        peak = new_peak
    total = other + tl.exp(own - peak)
    tl.store(scores + rows, tl.sqrt(square + other * other) / total, mask=is_row)
