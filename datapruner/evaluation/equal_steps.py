"""One training of a proxy: so many steps, the same for whatever rows, and how good it was on the way.

AdamW with a linear warm-up over a twentieth of the steps and half a cosine down to nothing. What a training does hangs
on rows, seed and steps alone; the clock stands still while the model is judged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from datapruner.evaluation.proxy import Step, Task

WARM_UP, DECAY = 0.05, 0.01
Loss = Callable[[torch.nn.Module, Step], torch.Tensor]


class Point(NamedTuple):
    """How good the model was behind so many steps and seconds of training."""

    step: int
    seconds: float
    quality: float


@dataclass(frozen=True)
class Schedule:
    """Steps, how often the model is judged on the way (at the end always), the highest rate, and the seed."""

    steps: int
    checks: int
    rate: float
    seed: int

    def judged(self) -> set[int]:
        """Behind which steps."""
        return {round(self.steps * (number + 1) / self.checks) for number in range(self.checks)}


def endless_epochs(rows: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """`rows` int64 in another order every epoch, without end."""
    # orders that random subsets with the same seed do not have: without end those are trainings on all rows, too
    number = 1 << 32
    while True:
        yield np.random.Generator(np.random.Philox(key=[seed, number])).permutation(rows)
        number += 1


def train(
    task: Task, steps: Iterator[Step], schedule: Schedule, loss: Loss | None = None
) -> tuple[torch.nn.Module, list[Point]]:
    """A model that took the first of `steps`, and its course; `loss` stands for the task's own.

    Raises ValueError where the steps end before their time.
    """
    own, points, judged = loss or task.loss, [], schedule.judged()
    # the caller's own draws stay as they were
    with torch.random.fork_rng():
        torch.manual_seed(schedule.seed)
        model = task.model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=DECAY)
        seconds, begun = 0.0, time.perf_counter()
        model.train()
        for number in range(1, schedule.steps + 1):
            step = next(steps, None)
            if step is None:
                raise ValueError(f"want {schedule.steps} steps, the rows are enough for {number - 1}")
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate * _share(number, schedule.steps)
            own(model, step).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if number in judged:
                seconds += _elapsed(begun)
                points.append(Point(number, seconds, _judged(task, model)))
                begun = time.perf_counter()
    return model.eval(), points


def _share(number: int, steps: int) -> float:
    """Of the highest rate, for step `number` from 1."""
    warm = max(1, round(WARM_UP * steps))
    if number <= warm:
        return number / warm
    return (1 + math.cos(math.pi * (number - warm) / (steps - warm + 1))) / 2


def _judged(task: Task, model: torch.nn.Module) -> float:
    model.eval()
    quality = task.quality(model)
    model.train()
    if not math.isfinite(quality):
        raise ValueError(f"the training went astray, its quality is {quality}: want a lower learning_rate")
    return quality


def _elapsed(begun: float) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun
