"""Trainings of the proxy on all rows that scorers read: a record of one, and logits of several.

`el2n`, `grand` and `margin` read logits in evaluation mode of several short trainings (`ensemble`), `label_error` those
of trainings that did not see the row, `aum`, `forgetting`, `dual` and others the course of one long one (`record`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from datapruner.corpus.source import Source
from datapruner.corpus.uids import splitmix64
from datapruner.evaluation.equal_steps import Loss, Schedule, endless_epochs, train
from datapruner.evaluation.proxy import Answers, LabelledTask, Step
from datapruner.scoring.scorer import Batch
from datapruner.training.ensemble import Predict, Predictions, train_ensemble
from datapruner.training.recorder import DynamicsRecorder

BLOCK, FOLDS = 4096, 5


@dataclass(frozen=True, eq=False)
class ProxyTraining:
    """`task`'s model trained for some epochs over rows: all, or in folds of which each is answered by the others.

    `keys` are those of the uids, uint64 [n].
    """

    task: LabelledTask
    keys: np.ndarray
    rate: float
    epochs: int
    is_held_out: bool = False

    def __call__(self, source: Source, seed: int) -> Predict:
        """What `train_ensemble` wants: answers of every row."""
        logits, features = self.answers(seed)
        return lambda batch: _of_batch(batch, logits, features)

    def answers(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits [n, C] of every row, and the inputs of the last layer [n, D], float32."""
        rows = np.arange(self.task.n_rows)
        if not self.is_held_out:
            return _answered(self.task, self._trained(rows, seed), rows)
        # whole folds by uid: equal on every machine, and of nearly equal sizes
        order = np.argsort(splitmix64(self.keys, seed), kind="stable")
        found: tuple[np.ndarray, np.ndarray] | None = None
        for fold in range(FOLDS):
            own = order[fold::FOLDS]
            parts = _answered(self.task, self._trained(np.setdiff1d(rows, own), seed), own)
            if found is None:
                found = (np.zeros((len(rows), parts[0].shape[1]), np.float32),
                         np.zeros((len(rows), parts[1].shape[1]), np.float32))  # fmt: skip
            for whole, part in zip(found, parts, strict=True):
                whole[own] = part
        return found if found is not None else (np.zeros((0, 1)), np.zeros((0, 1)))

    def _trained(self, rows: np.ndarray, seed: int, loss: Loss | None = None) -> torch.nn.Module:
        epochs = endless_epochs(rows, seed)
        steps = list_of_steps(self.task, epochs, self.epochs)
        schedule = Schedule(len(steps), 1, self.rate, seed)
        return train(self.task, iter(steps), schedule, loss)[0]

    def record(self, out: Path, seed: int) -> None:
        """Record one training into the file `out`."""
        recorder, keys = DynamicsRecorder(), torch.from_numpy(self.keys.view(np.int64))

        def loss(model: torch.nn.Module, step: Step) -> torch.Tensor:
            logits = self.task.answers(model, step.items).logits
            labels = self.task.labels[step.items]
            recorder.log_keys(keys[step.items.cpu()], logits.detach(), labels)
            return torch.nn.functional.cross_entropy(logits, labels)

        self._trained(np.arange(self.task.n_rows), seed, loss)
        recorder.save(out)


def list_of_steps(task: LabelledTask, epochs: Iterator[np.ndarray], n: int) -> list[Step]:
    """All steps of the first `n` epochs; none has rows of two, so that a row comes once an epoch."""
    return [step for rows, _ in zip(epochs, range(n), strict=False) for step in task.steps(iter([rows]), None)]


def make_ensemble(training: ProxyTraining, source: Source, runs: int, seed: int, out: Path) -> None:
    """Train `runs` of them, with seeds of their own for each `seed`; a run that is there is not trained again."""
    train_ensemble(training, source, range(seed * runs, (seed + 1) * runs), out)


def _answered(task: LabelledTask, model: torch.nn.Module, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts: list[Answers] = []
    with torch.no_grad():
        for some in torch.from_numpy(rows).split(BLOCK):
            parts.append(task.answers(model, some.to(task.labels.device)))
    logits, features = (torch.cat(items).float().cpu().numpy() for items in zip(*parts, strict=True))
    return logits, features


def _of_batch(batch: Batch, logits: np.ndarray, features: np.ndarray) -> Predictions:
    return Predictions(logits[batch.rows], features[batch.rows])
