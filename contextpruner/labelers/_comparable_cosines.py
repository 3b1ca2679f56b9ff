"""Cosines that mean the same for every question.

    m       = 0.85 * mean of the cosines over all units
    near    = (cos - m) / (best - m + 0.02)                        how near a unit comes to the question's best one
    answers = best^6 / (best^6 + unrelated^6)                      whether the best one comes near the question at all
    probability = near * answers                                   clipped to [0, 1]

A long or a polite question has lower cosines with everything than a short one, so that only differences from what all
units have tell units apart. `unrelated` is the cosine at which it is undecided whether documents speak of the question;
it is a model's own: near the best cosine of a unit that speaks of something else. The numbers were chosen on questions
of other sets than those of docs/context_recall.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contextpruner.units.split import SplitDocument

COMMON, COVERABLE, STEEP = 0.85, 0.02, 6


def check_unrelated(name: str, unrelated: float) -> None:
    """Raises ValueError in the name of the labeler."""
    if not 0 <= unrelated < 1:
        raise ValueError(f"{name} wants unrelated in [0, 1), got {unrelated}")


def comparable(cosines: Sequence[np.ndarray], documents: Sequence[SplitDocument], unrelated: float) -> list[np.ndarray]:
    """The `cosines` float32 [units] of each document on one scale, float32 in [0, 1]; the order changes no bit."""
    units = [unit for document in documents for unit in document.units]
    flat = np.concatenate([np.zeros(0), *cosines]).clip(0, 1)
    # headers and fences, which hand nothing on, are no answers that others are measured by
    answers = np.array([unit.competes or unit.introduces is not None for unit in units], dtype=bool)
    best = flat[answers].max(initial=0)
    if not best > 0:
        return [np.zeros(len(values), np.float32) for values in cosines]
    common = COMMON * np.sort(flat[answers]).mean()
    scale = best**STEEP / (best**STEEP + unrelated**STEEP) / (best - common + COVERABLE)
    found = [(values.astype(np.float64) - common) * scale for values in cosines]
    return [values.clip(0, 1).astype(np.float32) for values in found]
