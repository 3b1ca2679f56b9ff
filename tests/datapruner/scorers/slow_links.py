"""At which similarity a row goes, straight from the definitions: what the scorers of copies are compared with."""

from __future__ import annotations

import numpy as np

from datapruner.scorers._copies import Semantics


def slow_links(similarity: np.ndarray, order: list[int], semantics: Semantics, threshold: float) -> np.ndarray:
    """What the score of each row is, [n]: `similarity` [n, n] of all pairs, 0 of none, and the rows in their order."""
    found = np.zeros(len(order))
    if semantics == "components":
        for value in sorted(set(similarity[similarity > 0].tolist())):
            for row in range(len(order)):
                if order.index(row) > min(order.index(other) for other in component(similarity, row, value)):
                    found[row] = value
        return found
    stays: list[int] = []
    for place, row in enumerate(order):
        earlier = stays if semantics == "greedy" else order[:place]
        found[row] = max((similarity[row, other] for other in earlier), default=0)
        if found[row] <= threshold:
            stays.append(row)
    return found


def component(similarity: np.ndarray, row: int, least: float) -> set[int]:
    """The rows that are reached from `row` by pairs of at least this similarity."""
    reached, todo = {row}, [row]
    while todo:
        for other in np.flatnonzero(similarity[todo.pop()] >= least).tolist():
            if other not in reached:
                reached.add(other)
                todo.append(other)
    return reached
