"""The trainings of an evaluation: all rows, each candidate at each budget, and the draws beside it, seed by seed.

    all            every row
    random         a draw that stays
    stratified     a draw with the classes' (or groups') shares of the whole
    rs2            another draw every epoch, repeated random subsets (Okanovic et al. 2024)
    distillation   a draw that stays, taught by a model of all rows (Ben-Baruch et al. 2025), whose training counts

All take the same number of steps, and of one replicate the same seed of training: initial weights are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from datapruner.evaluation.cells import Cells, Identity, Trained, rows_hash
from datapruner.evaluation.equal_steps import Loss, Schedule, endless_epochs, train
from datapruner.evaluation.kept_rows import Kept
from datapruner.evaluation.proxy import LabelledTask, Proxy, Step, Task
from datapruner.evaluation.settings import Evaluation
from datapruner.scoring.safetensors_mmap import mmap_safetensors, save_safetensors
from datapruner.training.distillation import distillation_loss, distillation_weight
from datapruner.training.random_subsets import RandomSubsets
from prunekernels.io.outputs import atomic_file

# raise it whenever the same cell would come to another quality than before
VERSION = 1
BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Way:
    """Rows that are trained on, and how: "fixed", "rs2" or "distillation"; drawn with `seed` where that still decides.

    An evaluation has `share` of the budget in mind, which says how much a teacher counts and how large a subset is.
    """

    kept: Kept
    kind: str = "fixed"
    share: float = 1.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains cells of one evaluation, or finds them done. `about` are the hashes of the corpora."""

    evaluation: Evaluation
    proxy: Proxy
    task: Task
    about: Identity
    out: Path

    @cached_property
    def cells(self) -> Cells:
        """Where they are kept."""
        return Cells(self.out / "cells")

    def identity(self, way: Way, seed: int) -> Identity:
        """All that decides a training."""
        asked = self.evaluation
        own: dict[str, str | int | float] = {"kind": way.kind, "rows": rows_hash(way.kept.rows, way.kept.weights)}
        if way.kind == "rs2":
            own |= {"rows": len(way.kept.rows), "subset_rows": self._subset_rows(way), "draw_seed": way.seed}
        if way.kind == "distillation":
            own |= {"alpha": distillation_weight(way.share), "teacher_seed": way.seed}
        versions = {"version": VERSION, "proxy_version": self.proxy.version}
        return {**self.about, **versions, **own, "seed": seed, "steps": asked.steps, "checks": asked.checks}

    def trained(self, way: Way, seed: int) -> Trained:
        """The training of `way` with the seed `seed`, done now where it was not."""
        identity = self.identity(way, seed)
        found = self.cells.load(identity)
        if found is None:
            steps = self.task.steps(self._epochs(way, seed), way.kept.weights)
            loss = self._taught(way) if way.kind == "distillation" else None
            found = Trained(tuple(train(self.task, steps, self._schedule(seed), loss)[1]))
            self.cells.save(identity, found)
        return found

    def teacher_seconds(self, seed: int) -> float:
        """What a teacher cost."""
        return float(self._teacher(seed)["seconds"][0])

    def _schedule(self, seed: int) -> Schedule:
        return Schedule(self.evaluation.steps, self.evaluation.checks, self.proxy.rate, seed)

    def _subset_rows(self, way: Way) -> int:
        return max(1, round(way.share * self.task.n_rows))

    def _epochs(self, way: Way, seed: int) -> Iterator[np.ndarray]:
        if way.kind != "rs2":
            yield from endless_epochs(way.kept.rows, seed)
        subsets = RandomSubsets(self.task.n_rows, n_keep=self._subset_rows(way), seed=way.seed)
        epoch = 0
        while True:
            yield subsets.subset(epoch)
            epoch += 1

    def _taught(self, way: Way) -> Loss:
        if not isinstance(self.task, LabelledTask):
            raise ValueError("distillation wants a proxy with labels: leave it out of baselines")
        task, alpha = self.task, distillation_weight(way.share)
        logits = torch.from_numpy(self._teacher(way.seed)["logits"].copy()).to(task.labels.device)

        def loss(model: torch.nn.Module, step: Step) -> torch.Tensor:
            own = task.answers(model, step.items).logits
            return distillation_loss(own, logits[step.items], task.labels[step.items], alpha)

        return loss

    def _teacher(self, seed: int) -> dict[str, np.ndarray]:
        """Logits [n, C] of a model of all rows, trained as long and with a seed that no replicate has."""
        identity = self.identity(Way(Kept(np.arange(self.task.n_rows), None, 0)), -1 - seed)
        path = self.out / f"teacher-{self.cells.path(identity).stem}.safetensors"
        if not path.exists() and isinstance(self.task, LabelledTask):
            rows = np.arange(self.task.n_rows)
            steps = self.task.steps(endless_epochs(rows, self._teacher_seed(seed)), None)
            model, points = train(self.task, steps, self._schedule(self._teacher_seed(seed)))
            with torch.no_grad():
                parts = torch.from_numpy(rows).split(BLOCK)
                device = self.task.labels.device
                logits = torch.cat([self.task.answers(model, part.to(device)).logits.float().cpu() for part in parts])
            with atomic_file(path) as temporary:
                save_safetensors({"logits": logits.numpy(), "seconds": np.array([points[-1].seconds])}, temporary)
        return mmap_safetensors(path)

    def _teacher_seed(self, seed: int) -> int:
        return self.evaluation.seeds.training + seed
