"""What a run says of itself every few steps: losses, speed, and how far that is from what the machine could do."""

from __future__ import annotations

import time
from collections.abc import Sequence

from contextpruner.models.joint_encoder import JointEncoder
from contextpruner.training.packed.batches import TrainingBatch
from contextpruner.training.trainer.flops import TRAINING, flops_per_token
from contextpruner.training.trainer.state import Progress


class StepLines:
    """Sums of the steps since the last line; `flops` are those that a matrix product reaches in a second."""

    def __init__(self, model: JointEncoder, every: int, flops: float) -> None:
        self._model, self._every, self._flops = model, every, flops
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps, self._tokens, self._rows = 0, 0, 0
        self._started = time.perf_counter()

    def line(
        self, progress: Progress, found: dict[str, float], batches: Sequence[TrainingBatch]
    ) -> dict[str, float] | None:
        """Take in a step; every few of them the means of `found`, tokens a second, and its share of the floor."""
        self._steps += 1
        self._tokens += sum(batch.tokens for batch in batches)
        self._rows += sum(len(batch.rows) for batch in batches)
        for name, value in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if progress.step % self._every:
            return None
        speed = self._tokens / (time.perf_counter() - self._started)
        needed = TRAINING * flops_per_token(self._model, self._tokens / self._rows)
        line = {name: value / self._steps for name, value in self._sums.items()}
        line |= {"step": progress.step, "tokens": progress.tokens, "tokens_a_second": speed}
        line |= {"of_floor": speed * needed / self._flops}
        self._clear()
        return line
