"""GraNd of the last layer, the gradient norm of Paul et al. 2021 (arXiv:2107.07075), in closed form.

For a linear head with bias, logits = W h + b, the gradient of the cross-entropy is the outer product of p - y
and (h, 1), whose norm is the product of the norms:

    grand = || softmax(logits) - onehot(label) ||_2 * sqrt(1 + ||h||_2^2)

Higher means harder. Torch only: beyond `el2n`, which has a kernel, one read of the features and one product; the
outer product itself, [N, C * D], is never made.
"""

from __future__ import annotations

import torch

from prunekernels._backend import Backend
from prunekernels._precision import full_precision
from prunekernels.el2n import el2n


@full_precision
def grand(
    logits: torch.Tensor, labels: torch.Tensor, features: torch.Tensor, *, backend: Backend = "auto"
) -> torch.Tensor:
    """Score `logits` [N, C] against `labels` [N] with the head's inputs `features` [N, D]; returns float32 [N].

    Raises ValueError as `el2n` does, for features of another length or dtype, for NaN or infinity, with the row
    named, and for a score beyond float32.
    """
    if features.ndim != 2 or len(features) != len(logits) or not features.is_floating_point():
        raise ValueError(f"want floating-point features [{len(logits)}, D], got {[*features.shape]} {features.dtype}")
    # float64 holds the squares of all that float32 holds
    norms = torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)
    scores = (el2n(logits, labels, backend=backend) * torch.hypot(norms, torch.ones_like(norms))).float()
    if not scores.isfinite().all():
        row = int((~scores.isfinite()).nonzero()[0])
        is_finite = bool(features[row].isfinite().all())
        raise ValueError(
            f"row {row}: its {'score is beyond float32' if is_finite else 'features have NaN or infinity'}"
        )
    return scores
