"""What classifiers share: batches of rows, cross-entropy, accuracy on the held-out rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.evaluation.proxy import Answers, LabelledTask, Proxy, Rows, Step, device_of

# rows of a forward pass that learns nothing
BLOCK = 2048


class Classifier(torch.nn.Module):
    """A body, and one linear layer on top of it."""

    def __init__(self, body: torch.nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body, self.head = body, torch.nn.Linear(width, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs))


class ClassifierTask(LabelledTask):
    """Rows as tensors on the device of `proxy`."""

    def __init__(self, proxy: ClassifierProxy, train: Rows, test: Rows) -> None:
        if train.labels is None or test.labels is None:
            raise ValueError(
                f"{type(proxy).__module__.rpartition('.')[2]} wants labels in both corpora: name the field"
            )
        self.proxy, self.n_rows, self.n_classes = proxy, len(train), len(train.classes)
        self.device = device_of(proxy.device)
        inputs = proxy.inputs(train, test)
        self.inputs, self.test_inputs = (item.to(self.device) for item in inputs)
        self.labels, self.test_labels = (
            torch.from_numpy(rows.labels).to(self.device) for rows in (train, test) if rows.labels is not None
        )

    def model(self) -> torch.nn.Module:
        body, width = self.proxy.body(self.inputs)
        return Classifier(body, width, self.n_classes).to(self.device)

    def steps(self, epochs: Iterator[np.ndarray], weights: np.ndarray | None) -> Iterator[Step]:
        size, waiting = self.proxy.batch_size, np.zeros(0, np.int64)
        given = None if weights is None else torch.from_numpy(weights).to(self.device)

        def step(some: np.ndarray) -> Step:
            items = torch.from_numpy(some).to(self.device)
            return Step(items, None if given is None else given[items])

        for rows in epochs:
            # an epoch may be smaller than a step, which then has rows of several
            waiting = np.concatenate([waiting, rows])
            whole = len(waiting) // size * size
            yield from (step(waiting[start : start + size]) for start in range(0, whole, size))
            waiting = waiting[whole:]
        if len(waiting):
            yield step(waiting)

    def loss(self, model: torch.nn.Module, step: Step) -> torch.Tensor:
        losses = torch.nn.functional.cross_entropy(
            model(self.inputs[step.items]), self.labels[step.items], reduction="none"
        )
        return losses.mean() if step.weights is None else (losses * step.weights).mean()

    @torch.no_grad()
    def quality(self, model: torch.nn.Module) -> float:
        right = sum(
            int((model(inputs).argmax(-1) == labels).sum())
            for inputs, labels in zip(self.test_inputs.split(BLOCK), self.test_labels.split(BLOCK), strict=True)
        )
        return right / len(self.test_labels)

    def answers(self, model: torch.nn.Module, rows: torch.Tensor) -> Answers:
        if not isinstance(model, Classifier):
            raise ValueError(f"want a model of this task, got {type(model).__name__}")
        features = model.body(self.inputs[rows])
        return Answers(model.head(features), features)


@dataclass(frozen=True)
class ClassifierProxy(Proxy):
    """`batch_size` rows a step, AdamW with the highest rate `learning_rate`; `device` "auto" is CUDA where there is."""

    batch_size: int = 128
    learning_rate: float = 2e-3
    device: str = "auto"

    needs: ClassVar[tuple[str, ...]] = ("labels",)

    def check(self) -> None:
        if self.batch_size < 1 or not self.learning_rate > 0:
            raise ValueError(
                f"want a batch_size of at least 1 and a learning_rate above 0, got {self.batch_size} and "
                f"{self.learning_rate}"
            )

    @property
    def rate(self) -> float:
        return self.learning_rate

    def task(self, train: Rows, test: Rows) -> ClassifierTask:
        return ClassifierTask(self, train, test)

    def inputs(self, train: Rows, test: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """What the body reads of both, a row each."""
        raise NotImplementedError

    def body(self, inputs: torch.Tensor) -> tuple[torch.nn.Module, int]:
        """A new body for such `inputs`, and the width of what it gives."""
        raise NotImplementedError
