"""The contract of a proxy: a small model that is trained on some rows of a corpus and judged on rows it never saw.

A proxy is a frozen dataclass in `proxies/<name>.py` with a default for every field. It writes `task`, which makes of
the rows what its model reads: once, for all trainings of an evaluation. A training takes as many optimizer steps as it
is told, and each step as many rows (or tokens), whatever is kept: trainings of equal steps cost the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import torch

PROXIES = "datapruner.evaluation.proxies"


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows of a corpus: uids, and what the proxy `needs` of texts, images (encoded), labels and vectors.

    `labels` int64 [n] are numbers of `classes`; `vectors` by name, float32 [n, d].
    """

    uids: Sequence[str]
    texts: Sequence[str] | None = None
    images: Sequence[bytes] | None = None
    labels: np.ndarray | None = None
    classes: Sequence[str | int] = ()
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.uids)


class Step(NamedTuple):
    """What one optimizer step learns from: numbers of rows int64 [b], or tokens [b, t], and their weights [b] or [b, t]
    where rows have any."""

    items: torch.Tensor
    weights: torch.Tensor | None = None


class Task:
    """A proxy's own form of the rows to train on and the rows to judge by."""

    n_rows: int

    def model(self) -> torch.nn.Module:
        """A new model; what is drawn for it comes from torch's generator, which the caller has seeded."""
        raise NotImplementedError

    def steps(self, epochs: Iterator[np.ndarray], weights: np.ndarray | None) -> Iterator[Step]:
        """Steps without end from rows without end, an epoch's row numbers int64 at a time; `weights` float32 [n_rows]
        have a mean of 1 over the rows that are trained on."""
        raise NotImplementedError

    def loss(self, model: torch.nn.Module, step: Step) -> torch.Tensor:
        """The mean loss of one step."""
        raise NotImplementedError

    def quality(self, model: torch.nn.Module) -> float:
        """How good the model is on the held-out rows, in the proxy's `quality`."""
        raise NotImplementedError


class Answers(NamedTuple):
    """Logits [n, C], and the inputs of the last layer [n, D]."""

    logits: torch.Tensor
    features: torch.Tensor


class LabelledTask(Task):
    """A task with classes: what scorers of a training and distillation read are its logits."""

    labels: torch.Tensor

    def answers(self, model: torch.nn.Module, rows: torch.Tensor) -> Answers:
        """Of the rows int64 [n] of those to train on."""
        raise NotImplementedError


@dataclass(frozen=True)
class Proxy:
    """Base of all proxies."""

    # raise it whenever the same fields would train another model than before
    version: ClassVar[int] = 1
    # what is measured on held-out rows, in which direction, and how much of it is next to nothing
    quality: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    margin: ClassVar[float] = 0.005
    # of: texts, images, labels
    needs: ClassVar[tuple[str, ...]] = ("labels",)
    # one line: parameters, and what a step takes
    cost: ClassVar[str] = ""

    def task(self, train: Rows, test: Rows) -> Task:
        """What the model reads of `train` and `test`; raises ValueError where the rows do not fit it."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise where the fields cannot work, before anything is read."""

    def vector_names(self) -> tuple[str, ...]:
        """Names of the vectors that it reads: fields of both corpora, or embedders among the scorers."""
        return ()

    @property
    def rate(self) -> float:
        """The highest learning rate of AdamW."""
        return 1e-3


def device_of(name: str) -> torch.device:
    """The device `name`; "auto" is CUDA where there is any, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
