"""A recorder of training dynamics: what each row's logits were like, presentation by presentation, keyed by uid.

    recorder = DynamicsRecorder()
    for epoch in range(epochs):
        for uids, x, y in loader:                  # shuffled as you like
            logits = model(x)
            recorder.log(uids, logits, y)          # each micro-batch, before or behind the backward pass
            ...
        recorder.gather()                          # where several processes train
    recorder.save("dynamics.safetensors")          # datapruner score ... forgetting:record=dynamics.safetensors

A presentation is one forward pass of a row in training mode, as Toneva et al. 2019 count them. With several processes
each keeps what it logged until `gather`, which gives every process the rows of all: a sampler may hand a row to another
process in every epoch, and its course is still in order. Call it on all of them, at the end of an epoch at the latest
and before `save`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from datapruner.training.gather_rows import gather_rows, world_size
from datapruner.training.observations import Observations, observe
from datapruner.training.record_file import load_record, save_record
from datapruner.training.running_record import RecordSettings, RunningRecord
from datapruner.training.uid_slots import uid_keys

# of presentations whose label is another than before; noise added on purpose is rarer, positions change most labels
MOST_CHANGES = 0.05
# how far, in standard errors, a row's answers hang together at the least; with less variance nothing is said
LEAST_EVIDENCE, LEAST_VARIANCE = 3.0, 100.0


class DynamicsRecorder:
    """Records in O(n) memory; `settings` say how much of each row."""

    def __init__(self, settings: RecordSettings | None = None) -> None:
        self.record = RunningRecord(settings or RecordSettings())
        # the trainer's step that the record stands at
        self.step = 0
        self._waiting: list[Observations] = []
        self._classes = 0
        self._has_warned = False

    def log(self, uids: Sequence[str | int], logits: torch.Tensor, labels: torch.Tensor) -> None:
        """One presentation of each row: `logits` [n, C] raw, `labels` [n] whole. Raises as `observe` does."""
        self.log_keys(uid_keys(uids), logits, labels)

    def log_keys(self, keys: np.ndarray | torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """As `log`, with the keys of the uids: int64 [n], as `uid_keys` gives them."""
        array = keys.detach().cpu().numpy() if isinstance(keys, torch.Tensor) else keys
        seen = observe(array.astype(np.int64).view(np.uint64), logits, labels, self.record.settings.with_divergences)
        if world_size() > 1:
            if logits.shape[1] != (self._classes or logits.shape[1]):
                raise ValueError(f"want logits of {self._classes} classes as before, got {logits.shape[1]}")
            self._waiting.append(seen)
            self._classes = logits.shape[1]
        else:
            self.record.add(seen, logits.shape[1])

    def gather(self) -> None:
        """Bring together what all processes logged; all of them must call it. One process alone needs it not."""
        if world_size() > 1:
            classes = int(gather_rows(np.array([self._classes])).max())
            own = self._own_rows(classes)
            parts = {field.name: gather_rows(getattr(own, field.name)) for field in fields(Observations)}
            seen = Observations(**parts)
            self._waiting = []
            if len(seen):
                self.record.add(seen, classes)
        self._warn()

    def save(self, path: str | Path) -> None:
        """Write the record, from which scorers read and `load` goes on; raises where rows were not gathered."""
        if self._waiting:
            raise ValueError("want gather() on every process before save(): rows wait that others have not seen")
        self._warn()
        save_record(self.record, Path(path), self.step)

    @classmethod
    def load(cls, path: str | Path) -> DynamicsRecorder:
        """A recorder that goes on where the one that wrote `path` stopped."""
        recorder = cls()
        recorder.record, recorder.step = load_record(Path(path))
        return recorder

    def position_doubt(self) -> str | None:
        """Why the uids seem to be places in a loader rather than rows; None where nothing speaks for it.

        Either labels change, or a wrong answer says nothing of the row's next one: how often wrong follows wrong is
        compared with chance, presentation by presentation (Mantel and Haenszel), since all rows get better with time.
        """
        arrays, counts = self.record.arrays(), self.record.counts.astype(np.float64)
        total, from_wrong, to_wrong, both = counts[counts[:, 0] > 1].T
        changes = int(arrays["label_changes"].sum()) if arrays else 0
        if changes > MOST_CHANGES * total.sum():
            return f"{changes:,} of {int(total.sum()):,} times a row came back with another label"
        expected = from_wrong * to_wrong / total
        variance = (expected * (total - from_wrong) * (total - to_wrong) / total / (total - 1)).sum()
        if variance < LEAST_VARIANCE or both.sum() - expected.sum() > LEAST_EVIDENCE * variance**0.5:
            return None
        return f"wrong follows wrong {int(both.sum()):,} times, by chance it would {round(expected.sum()):,} times"

    def _own_rows(self, classes: int) -> Observations:
        names = [field.name for field in fields(Observations)]
        if self._waiting:
            return Observations(*(np.concatenate([getattr(seen, name) for seen in self._waiting]) for name in names))
        # one that logged nothing must send as wide rows as the others
        width = classes if self.record.settings.with_divergences else 0
        none = torch.zeros(0, dtype=torch.int64)
        return observe(np.zeros(0, np.uint64), torch.zeros(0, max(2, width)), none, width > 0)

    def _warn(self) -> None:
        doubt = None if self._has_warned else self.position_doubt()
        if doubt is not None:
            self._has_warned = True
            warnings.warn(
                f"training dynamics: {doubt}: the uids seem to follow a loader's positions and not the rows; "
                "want a uid that comes with its row out of the data set",
                stacklevel=3,
            )
