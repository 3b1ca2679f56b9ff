"""What a method gives back, checked before anything is done with it: whoever wrote it is told what was wanted.

Numbers on a GPU are looked at without waiting for it (`prunekernels._finite`), but for scores in float64.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from prunekernels._finite import refuse_where


def checked_scores(scores: object, shape: tuple[int, ...], name: str) -> torch.Tensor:
    """`scores` as float32 `shape`; raises ValueError, beginning with the method's `name`, for what is no such score.

    NaN and infinity are left to who selects.
    """
    wanted = f"{name}: want importance float32 {[*shape]}"
    found = real_tensor(scores, wanted)
    if found.shape != shape or found.dtype.is_complex:
        raise ValueError(f"{wanted}, got {described(found)}")
    narrow = found.float()
    # what is infinite only there would tie
    if found.dtype == torch.float64 and (narrow.isinf() & found.isfinite()).any():
        raise ValueError(f"{wanted}, got float64 beyond its range, up to {float(found.abs().max()):.3g}")
    return narrow


def checked_indices(picks: object, shape: tuple[int, ...], wanted: str) -> torch.Tensor:
    """`picks` where they are int64 of `shape`, -1 for any length; raises ValueError that begins with `wanted`."""
    found = real_tensor(picks, wanted)
    fits = found.ndim == len(shape) and all(want in (-1, got) for want, got in zip(shape, found.shape, strict=True))
    if not fits or found.dtype != torch.int64:
        raise ValueError(f"{wanted}, got {described(found)}")
    return found


def check_ascending(picks: torch.Tensor, below: int, wanted: str) -> torch.Tensor:
    """`picks` int64 [..., n] where they are distinct and ascending from 0 to under `below`; raises ValueError if not.

    On a GPU the error comes later, until when the picks are indices of something.
    """
    wrong = pad(picks.diff(dim=-1) <= 0, (1, 0)) if picks.shape[-1] else picks < 0
    message = f"{wanted}, got {described(picks)}"
    refuse_where(wrong | (picks < 0) | (picks >= below), lambda place: f"{message}, wrong at {[*place]}")
    return picks.clamp(0, below - 1) if picks.is_cuda else picks


def real_tensor(found: object, wanted: str) -> torch.Tensor:
    """`found` where it is a tensor that holds numbers; raises ValueError that begins with `wanted`."""
    if not isinstance(found, torch.Tensor) or found.is_meta:
        raise ValueError(f"{wanted}, got {described(found)}")
    return found


def described(found: object) -> str:
    """The kind of `found`, of a tensor its dtype and shape."""
    if not isinstance(found, torch.Tensor):
        return f"{type(found).__name__}" if found is not None else "None"
    return f"{'a meta tensor, ' if found.is_meta else ''}{found.dtype} {[*found.shape]}"
