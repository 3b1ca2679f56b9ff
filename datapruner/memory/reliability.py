"""How far a row of a memory is to be trusted, by Geirhos et al. 2025 (arXiv:2408.08172), appendix I.

Every row of the memory is asked with itself left out. With v the number of wrong decisions that a row contributed to,
that is, for whose wrong label it stood:

    soft pruning    gamma = 1.75 / (1 + v), 1 where v = 0       a factor of the row's vote
    hard pruning    rows with v >= 128 leave the memory         for 100 neighbours and ImageNet's 1.28 million rows

A row is blamed by what is known of the others: where many labels are wrong, it is the rows that contradict them,
rightly, which look unreliable. Drop wrong labels first, say by the scorer `label_error`.
"""

from __future__ import annotations

import numpy as np

NUMERATOR, OFFSET = 1.75, 1.0


def wrong_votes(
    neighbours: np.ndarray, votes: np.ndarray, decided: np.ndarray, truth: np.ndarray, size: int
) -> np.ndarray:
    """int64 [size]: to how many wrong decisions each row contributed.

    `neighbours` [n, k] are the rows that were asked, -1 for none, `votes` [n, k] their labels, `decided` [n] and
    `truth` [n] the labels that came out and those that are right.
    """
    wrong = (decided != truth)[:, None] & (votes == decided[:, None]) & (neighbours >= 0)
    return np.bincount(neighbours[wrong], minlength=size)


def reliability(wrong: np.ndarray) -> np.ndarray:
    """gamma of each row, float64, of how often it was `wrong`."""
    return np.where(wrong > 0, NUMERATOR / (OFFSET + wrong), 1.0)
