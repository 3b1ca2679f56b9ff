"""Dynamic pruning with rescaled losses, in the manner of InfoBatch, Qin et al. 2024 (arXiv:2303.04947).

    pruning = DynamicPruning(len(dataset), epochs=100)
    loader = DataLoader(dataset, batch_size=128, sampler=pruning)        # the data set gives its rows' indices too
    for epoch in range(100):
        pruning.begin_epoch(epoch)
        for indices, x, y in loader:
            losses = cross_entropy(model(x), y, reduction="none")
            pruning.weighted_mean(indices, losses).backward()

Of the rows whose last loss is below the mean an epoch leaves out the fraction `ratio` at random, and gives those that
stay the weight n_below / n_kept, 1 / (1 - ratio) but for rounding, so that the expected gradient is that of all rows.
In the last epochs all rows are trained on with weight 1: what weights are is reckoned from the epoch's number, so
that no product of `delta` and `epochs` can leave them changed, and at least one such epoch there always is.

The sampler, the losses and the weights are this object's alone: torch's loaders and the global random state stay as
they are. An epoch has fewer steps: schedules by steps must be told (`steps`), or run by epochs. With several
processes each trains on its part of the same rows, and `begin_epoch` brings their losses together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch.utils.data import Sampler

from datapruner.training.gather_rows import gather_rows

# the loss of a row that was never seen, InfoBatch's: all alike, none is below the mean
UNSEEN = 3.0


class DynamicPruning(Sampler[int]):
    """Which of `n` rows an epoch trains on, and with which weights.

    `ratio`: the fraction of the rows below the mean that is left out. `delta`: the fraction of `epochs` that prune.
    """

    def __init__(self, n: int, epochs: int, ratio: float = 0.5, delta: float = 0.875, seed: int = 0) -> None:
        if n < 1 or epochs < 1 or not 0 <= ratio < 1 or not 0 <= delta <= 1 or seed < 0:
            raise ValueError(
                "want at least 1 row and 1 epoch, ratio in [0, 1), delta in [0, 1] and a seed of at least 0, got "
                f"{n}, {epochs}, {ratio}, {delta} and {seed}"
            )
        self.n, self.epochs, self.ratio, self.seed = n, epochs, ratio, seed
        # whole epochs within delta, and never the last
        self.pruned_epochs = min(int(delta * epochs + 1e-9), epochs - 1)
        self.losses = np.full(n, UNSEEN, dtype=np.float32)
        self.epoch = 0
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []
        self._plan()

    def __len__(self) -> int:
        """How many rows the epoch trains on."""
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        """The rows of the epoch, shuffled."""
        yield from self._rows.tolist()

    def begin_epoch(self, epoch: int) -> None:
        """Choose the rows of `epoch` by the losses seen so far; all processes must call it."""
        if not 0 <= epoch < self.epochs:
            raise ValueError(f"want an epoch in [0, {self.epochs}), got {epoch}")
        rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in self._seen)])
        losses = np.concatenate([np.zeros(0, np.float32), *(losses for _, losses in self._seen)])
        rows, losses = gather_rows(rows), gather_rows(losses)
        self.losses[rows] = losses
        self._seen, self.epoch = [], epoch
        self._plan()

    def weights(self, indices: torch.Tensor) -> torch.Tensor:
        """The weight of each of the rows `indices` [b] in this epoch, float32 [b]; 0 for one that is left out."""
        return torch.from_numpy(self._weights[indices.cpu().numpy()]).to(indices.device)

    def weighted_mean(self, indices: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        """The loss of a batch: the mean of weight times `losses` [b] of the rows `indices` [b], which are remembered.

        Raises ValueError for losses that are not one a row, or not finite.
        """
        if losses.ndim != 1 or losses.shape != indices.shape:
            raise ValueError(f"want a loss for each of {[*indices.shape]} rows, got {[*losses.shape]}")
        kept = losses.detach().float().cpu().numpy()
        if not np.isfinite(kept).all():
            raise ValueError(f"want finite losses, got {kept[~np.isfinite(kept)][0]}")
        self._seen.append((indices.cpu().numpy().astype(np.int64), kept))
        return (losses * self.weights(indices.to(losses.device))).mean()

    def steps(self, batch_size: int) -> int:
        """How many batches the epochs from this one on have at the most: what a schedule by steps may span."""
        return (self.epochs - self.epoch) * -(-self.n // batch_size)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What a checkpoint needs at the end of an epoch, behind `begin_epoch` of the next: tensors alone."""
        if self._seen:
            raise ValueError("want begin_epoch() before state_dict(): losses wait that no process has brought together")
        settings = torch.tensor([self.n, self.epochs, self.pruned_epochs, self.seed, self.epoch])
        return {"losses": torch.from_numpy(self.losses.copy()), "settings": settings, "ratio": torch.tensor(self.ratio)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on where `state_dict` stood; raises ValueError where it is of other rows or settings."""
        own = self.state_dict()
        if not torch.equal(state["settings"][:-1], own["settings"][:-1]) or state["ratio"] != own["ratio"]:
            raise ValueError(
                f"want a state of rows, epochs, pruned epochs, seed {own['settings'][:-1].tolist()} and ratio "
                f"{self.ratio}, got {state['settings'][:-1].tolist()} and {float(state['ratio'])}"
            )
        self.losses, self.epoch = state["losses"].numpy().copy(), int(state["settings"][-1])
        self._plan()

    def _plan(self) -> None:
        """The rows of this epoch in their order, and the weight of every row."""
        draw = np.random.Generator(np.random.Philox(key=[self.seed, self.epoch]))
        order = draw.permutation(self.n)
        self._weights = np.ones(self.n, dtype=np.float32)
        if self.epoch < self.pruned_epochs:
            # in float64: a mean that is rounded up would put rows below themselves
            below = order[self.losses[order] < self.losses.mean(dtype=np.float64)]
            kept = len(below) - round(self.ratio * len(below))
            self._weights[below[kept:]] = 0
            self._weights[below[:kept]] = len(below) / max(1, kept)
        self._rows = order[self._weights[order] > 0]
