"""What one presentation of some rows says of each: a few numbers of its logits, with p = softmax(z) and label y.

margin = z_y - max_{c != y} z_c      el2n = ||p - onehot(y)||_2      nll = -log p_y      correct = (argmax z = y)
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from prunekernels.el2n import el2n


@dataclass(frozen=True)
class Observations:
    """Each field [n]; `probabilities` [n, C], or [n, 0] where nobody asks for them."""

    keys: np.ndarray
    labels: np.ndarray
    correct: np.ndarray
    margin: np.ndarray
    el2n: np.ndarray
    nll: np.ndarray
    p_label: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, indices: np.ndarray) -> Observations:
        """Those of some rows."""
        return Observations(*(getattr(self, field.name)[indices] for field in fields(self)))


def observe(keys: np.ndarray, logits: torch.Tensor, labels: torch.Tensor, with_probabilities: bool) -> Observations:
    """Of `logits` [n, C] with C >= 2 and whole `labels` [n]; keys uint64 [n].

    Raises ValueError for other shapes, labels outside [0, C), and logits that are not finite.
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1] or len(keys) != len(logits):
        raise ValueError(
            "want uids [n], logits [n, C] with C of at least 2 and labels [n], "
            f"got {len(keys)}, {[*logits.shape]} and {[*labels.shape]}"
        )
    raw, labels = logits.detach().float(), labels.detach().to(logits.device)
    if not raw.isfinite().all():
        row = int((~raw.isfinite().all(1)).nonzero()[0])
        raise ValueError(f"row {row} of the batch: want finite logits, got NaN or infinity")
    # checks the labels
    error = el2n(raw, labels)
    own = labels.long()[:, None]
    logs = raw.log_softmax(-1)
    others = raw.scatter(1, own, -torch.inf).amax(1)
    log_own = logs.gather(1, own)[:, 0]
    return Observations(
        keys,
        _numpy(labels, np.int32),
        _numpy(raw.argmax(1) == labels, np.bool_),
        _numpy(raw.gather(1, own)[:, 0] - others, np.float32),
        _numpy(error, np.float32),
        _numpy(-log_own, np.float32),
        _numpy(log_own.exp(), np.float32),
        _numpy(logs.exp() if with_probabilities else logs[:, :0], np.float32),
    )


def rounds(observations: Observations) -> list[Observations]:
    """The same in parts without repeated keys: of each row the first presentation, then the second, ..."""
    order = np.argsort(observations.keys, kind="stable")
    ordered = observations.keys[order]
    repeat = np.zeros(len(ordered), dtype=np.int64)
    repeat[order] = np.arange(len(ordered)) - np.searchsorted(ordered, ordered, "left")
    if not repeat.any():
        return [observations]
    return [observations.take(np.flatnonzero(repeat == number)) for number in range(int(repeat.max()) + 1)]


def _numpy(tensor: torch.Tensor, dtype: type) -> np.ndarray:
    return tensor.cpu().numpy().astype(dtype, copy=False)
