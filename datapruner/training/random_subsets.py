"""Repeated random subsets, RS2 of Okanovic et al. 2024 (arXiv:2305.18424): another random part of the rows every epoch.

    subsets = RandomSubsets(len(dataset), keep_ratio=0.1, seed=0)
    loader = DataLoader(dataset, batch_size=128, sampler=subsets)
    for epoch in range(epochs):
        for batch in loader: ...                    # the next subset; the learning rate's schedule spans these steps

Without replacement the rows are shuffled once and handed out in consecutive slices, and shuffled anew when all have
been seen: in n / n_keep epochs each is seen once. A slice that spans two shuffles takes the rows that are left and
fills up with the first of the next shuffle that are not among them, so that every epoch has exactly `n_keep`
different rows. With replacement each epoch draws from all rows, whatever was drawn before. Which rows an epoch has
hangs on the seed and the number of the epoch alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from torch.utils.data import Sampler

from prunekernels import budget


class RandomSubsets(Sampler[int]):
    """Indices of `n` rows, `n_keep` or `keep_ratio` of them an epoch; give one of the two."""

    def __init__(
        self,
        n: int,
        keep_ratio: float | None = None,
        *,
        n_keep: int | None = None,
        replacement: bool = False,
        seed: int = 0,
    ) -> None:
        if (keep_ratio is None) == (n_keep is None):
            raise ValueError(f"want keep_ratio or n_keep, got {keep_ratio} and {n_keep}")
        count = budget.n_keep(n, keep_ratio) if keep_ratio is not None else n_keep
        if count is None or not 0 < count <= n or seed < 0:
            raise ValueError(f"want 1 to {n} rows an epoch and a seed of at least 0, got {count} and {seed}")
        self.n, self.n_keep, self.replacement, self.seed = n, count, replacement, seed
        # the epoch that is handed out next, or now, and how many of its rows were
        self.epoch = self.consumed = 0
        self._shuffles: tuple[int, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        """How many rows an epoch has."""
        return self.n_keep

    def __iter__(self) -> Iterator[int]:
        """The rows of the current epoch that were not handed out yet; the next call gives the next epoch."""
        for row in self.subset(self.epoch)[self.consumed :].tolist():
            self.consumed += 1
            yield row
        self.epoch, self.consumed = self.epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Hand out epoch number `epoch` next, from its beginning; where it is begun already, go on with it."""
        if epoch != self.epoch:
            self.epoch, self.consumed = epoch, 0

    def subset(self, epoch: int) -> np.ndarray:
        """The rows of an epoch in their order, int64 [n_keep], all different."""
        if epoch < 0:
            raise ValueError(f"want an epoch of at least 0, got {epoch}")
        if self.replacement:
            return self._shuffled(epoch)[: self.n_keep]
        first = epoch * self.n_keep
        number, start = divmod(first, self.n)
        order, following = self._pair(number)
        return np.concatenate([order[start : start + self.n_keep], following[: max(0, start + self.n_keep - self.n)]])

    def state_dict(self, consumed: int | None = None) -> dict[str, int | bool]:
        """Where it stands; `consumed` says how many rows of the epoch were trained on, where a loader read ahead."""
        at = self.consumed if consumed is None else consumed
        epoch, at = (self.epoch + 1, 0) if at == self.n_keep else (self.epoch, at)
        return {**self._settings(), "epoch": epoch, "consumed": at}

    def load_state_dict(self, state: Mapping[str, int | bool]) -> None:
        """Go on where `state_dict` stood; raises ValueError where it is of other rows, another size or seed."""
        for name, own in self._settings().items():
            if state.get(name) != own:
                raise ValueError(f"want a state with {name}={own}, got {state.get(name)}")
        if not 0 <= state["consumed"] < self.n_keep or state["epoch"] < 0:
            raise ValueError(f"want a place in an epoch of {self.n_keep} rows, got {state['consumed']}")
        self.epoch, self.consumed = int(state["epoch"]), int(state["consumed"])

    def _settings(self) -> dict[str, int | bool]:
        return {"n": self.n, "n_keep": self.n_keep, "replacement": self.replacement, "seed": self.seed}

    def _shuffled(self, number: int) -> np.ndarray:
        return np.random.Generator(np.random.Philox(key=[self.seed, number])).permutation(self.n)

    def _pair(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Shuffle `number` and the next, whose first rows are not among those that an epoch takes of this one."""
        if self._shuffles is None or self._shuffles[0] > number:
            self._shuffles = (0, *self._followed(0, self._shuffled(0)))
        while self._shuffles[0] < number:
            at, _, following = self._shuffles
            self._shuffles = (at + 1, *self._followed(at + 1, following))
        return self._shuffles[1:]

    def _followed(self, number: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # where the last epoch of this shuffle begins; it takes what is left, and the rest from the next
        last = (number + 1) * self.n // self.n_keep * self.n_keep - number * self.n
        left = order[max(0, last) :]
        missing = self.n_keep - len(left)
        following = self._shuffled(number + 1)
        fresh = following[~np.isin(following, left)][: missing if len(left) else 0]
        return order, np.concatenate([fresh, following[~np.isin(following, fresh)]])
