"""The course of every row in O(n) memory: running sums, and windows of the last `window` presentations.

A row's presentations are counted for itself, whatever epoch or batch they came in. With p_t the probability of its
label at presentation t, q_t all probabilities, and J = window:

    forgettings   how often correct at t - 1 and wrong at t
    dual_sum      sum over windows of  std(p) (1 - mean(p)),   std over J presentations with J - 1 below
    tdds          e <- beta r + (1 - beta) e, a window at a time, with r the norm of d - mean(d) over the J - 1
                  divergences d_t = KL(q_t || q_{t-1}) of the window, beta = 0.9

A row takes about 90 bytes, 4 more for each presentation of a window (8 with divergences), and with divergences 4 more
for each class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datapruner.training.observations import Observations, rounds
from datapruner.training.uid_slots import UidSlots

BETA = 0.9
# what is kept of each row: kind, and how many numbers of which sort
_COLUMNS: dict[str, tuple[type, str]] = {
    "presentations": (np.int32, ""),
    "label": (np.int32, ""),
    "label_changes": (np.int32, ""),
    "correct": (np.bool_, ""),
    "learned": (np.bool_, ""),
    "forgettings": (np.int32, ""),
    "margin_sum": (np.float64, ""),
    "el2n_sum": (np.float64, ""),
    "early_el2n_sum": (np.float64, ""),
    "nll_sum": (np.float64, ""),
    "p_label_sum": (np.float64, ""),
    "dual_sum": (np.float64, ""),
    "tdds": (np.float64, ""),
    "p_label": (np.float32, "window"),
    "divergences": (np.float32, "divergences"),
    "probabilities": (np.float32, "classes"),
}
# of transitions: all, those from wrong, those to wrong, those from wrong to wrong
COUNTS = 4


@dataclass(frozen=True)
class RecordSettings:
    """`window`: presentations in a window of `dual` and `tdds`. `early`: presentations that `early_el2n_sum` covers.

    `with_divergences`: keep what `tdds` needs, a row's probabilities of all classes.
    """

    window: int = 10
    early: int = 10
    with_divergences: bool = True

    def __post_init__(self) -> None:
        if self.window < 3 or self.early < 1:
            raise ValueError(f"want a window of at least 3 and early of at least 1, got {self.window}, {self.early}")


class RunningRecord:
    """Grows as rows are seen; `arrays` are in the order of their slots."""

    def __init__(self, settings: RecordSettings) -> None:
        self.settings, self.slots = settings, UidSlots()
        self.classes: int | None = None
        # [t]: of the transitions from a row's presentation t to its next
        self.counts = np.zeros((0, COUNTS), dtype=np.int64)
        self._arrays: dict[str, np.ndarray] = {}

    def arrays(self) -> dict[str, np.ndarray]:
        """Each column [n] or [n, d] of the rows seen so far."""
        return {name: array[: self.slots.count] for name, array in self._arrays.items()}

    def restore(self, keys: np.ndarray, classes: int, arrays: dict[str, np.ndarray], counts: np.ndarray) -> None:
        """Go on where `arrays` of the rows `keys` left off."""
        self.slots, self.classes, self.counts = UidSlots(), classes, counts.copy()
        self.slots.find_or_add(keys)
        self._arrays = {name: arrays[name].astype(kind) for name, (kind, _) in _COLUMNS.items()}

    def add(self, seen: Observations, classes: int) -> None:
        """Count one more presentation of each row of `seen`, in its order; `classes` is the number of logits."""
        if self.classes not in (None, classes):
            raise ValueError(f"want logits of {self.classes} classes as before, got {classes}")
        self.classes = classes
        for part in rounds(seen):
            slots = self.slots.find_or_add(part.keys)
            self._make_room()
            self._add_once(slots, part)

    def _make_room(self) -> None:
        width = {"": (), "window": (self.settings.window,), "divergences": (0,), "classes": (0,)}
        if self.settings.with_divergences:
            width |= {"divergences": (self.settings.window - 1,), "classes": (self.classes or 0,)}
        room = len(self._arrays["label"]) if self._arrays else 0
        if self.slots.count > room:
            larger = max(self.slots.count, 2 * room, 1024)
            for name, (kind, size) in _COLUMNS.items():
                array: np.ndarray = np.zeros((larger, *width[size]), dtype=kind)
                if room:
                    array[:room] = self._arrays[name]
                self._arrays[name] = array

    def _add_once(self, slots: np.ndarray, seen: Observations) -> None:
        rows = self._arrays
        before = rows["presentations"][slots]
        again = before > 0
        self._count_transitions(before[again] - 1, rows["correct"][slots][again], seen.correct[again])
        rows["forgettings"][slots] += again & rows["correct"][slots] & ~seen.correct
        rows["label_changes"][slots] += again & (rows["label"][slots] != seen.labels)
        rows["correct"][slots], rows["label"][slots] = seen.correct, seen.labels
        rows["learned"][slots] |= seen.correct
        for name in ("margin", "el2n", "nll", "p_label"):
            rows[f"{name}_sum"][slots] += getattr(seen, name)
        rows["early_el2n_sum"][slots] += np.where(before < self.settings.early, seen.el2n, 0)
        self._add_to_windows(slots, seen, before)
        rows["presentations"][slots] = before + 1

    def _count_transitions(self, number: np.ndarray, was_correct: np.ndarray, is_correct: np.ndarray) -> None:
        if not len(number):
            return
        missing = int(number.max()) + 1 - len(self.counts)
        self.counts = np.pad(self.counts, [(0, max(0, missing)), (0, 0)])
        kinds = [np.ones_like(was_correct), ~was_correct, ~is_correct, ~was_correct & ~is_correct]
        np.add.at(self.counts, number, np.stack(kinds, 1).astype(np.int64))

    def _add_to_windows(self, slots: np.ndarray, seen: Observations, before: np.ndarray) -> None:
        rows, size = self._arrays, self.settings.window
        rows["p_label"][slots, before % size] = seen.p_label
        if self.settings.with_divergences:
            old = rows["probabilities"][slots].astype(np.float64)
            new = seen.probabilities.astype(np.float64)
            # below what float32 softmax gives, and 0 log 0 is 0
            tiny = 1e-38
            divergence = (new * (np.log(np.maximum(new, tiny)) - np.log(np.maximum(old, tiny)))).sum(1)
            place = (before - 1) % (size - 1)
            rows["divergences"][slots, place] = np.where(before > 0, divergence, rows["divergences"][slots, place])
            rows["probabilities"][slots] = seen.probabilities
        full = before + 1 >= size
        if not full.any():
            return
        at = slots[full]
        p = rows["p_label"][at].astype(np.float64)
        rows["dual_sum"][at] += p.std(1, ddof=1) * (1 - p.mean(1))
        if self.settings.with_divergences:
            d = rows["divergences"][at].astype(np.float64)
            spread = np.linalg.norm(d - d.mean(1, keepdims=True), axis=1)
            rows["tdds"][at] = BETA * spread + (1 - BETA) * rows["tdds"][at]
