"""A linear model that was learned before, from the fit.safetensors of a column: `weight` float32 [d], `bias` [1]."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from datapruner.scoring.safetensors_mmap import mmap_safetensors
from prunekernels.io.paths import open_regular


def checked_head(path: Path, named: str, width: int | None = None) -> dict[str, np.ndarray]:
    """The arrays of `path`; raises ValueError, which says it of `named`, where it is no linear model of `width`."""
    try:
        found = mmap_safetensors(path)
    except OSError as error:
        raise ValueError(f"{named}: want the fit.safetensors of a column, got {str(path)!r}: {error}") from error
    shapes = {name: (array.dtype.name, array.shape) for name, array in found.items()}
    wide = len(found["weight"]) if "weight" in found and found["weight"].ndim == 1 else -1
    if shapes != {"weight": ("float32", (wide,)), "bias": ("float32", (1,))} or width not in (None, wide):
        wanted = "" if width is None else f" of {width}"
        raise ValueError(f"{named}: {path}: want weight{wanted} and bias, float32, got {shapes}")
    if not all(np.isfinite(array).all() for array in found.values()):
        raise ValueError(f"{named}: {path}: want finite numbers, got others")
    return {"weight": found["weight"], "bias": found["bias"]}


def head_identity(path: Path) -> str:
    """A hash of the file."""
    with open_regular(path) as file:
        return f"blake2b {hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()}"
