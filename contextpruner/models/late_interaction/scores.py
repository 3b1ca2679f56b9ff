"""Exact MaxSim over arrays of any kind, the number that every shortcut is measured by (`prunekernels.max_sim`)."""

from __future__ import annotations

from contextpruner.models.late_interaction.arrays import Array, Lengths, Vectors, ragged
from prunekernels.max_sim import max_sim as _max_sim


def max_sim(
    questions: Vectors, documents: Vectors, lengths: Lengths | None = None, question_lengths: Lengths | None = None
) -> Array:
    """The scores of all documents, float32 [N] for one question [Q, D], [M, N] for several; higher is closer.

    Documents and several questions are ragged (`arrays`). Scores are numpy where the documents are. A document without
    tokens scores -inf. Raises ValueError for other shapes, and for NaN or infinity, with the row named.
    """
    there = ragged("documents", documents, lengths)
    is_one = question_lengths is None and getattr(questions, "ndim", 0) == 2
    asked = ragged("questions", questions, [len(questions)] if is_one else question_lengths)
    found = _max_sim(asked.values.to(there.values.device), there.values, there.lengths, asked.lengths)
    return there.like(found[0] if is_one else found)
