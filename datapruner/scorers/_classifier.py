"""What scorers of a classifier's answers share: logits of one or several runs, and labels as numbers of classes.

Logits are vector columns or fields of the source, or an ensemble that `datapruner.training.ensemble` trained. Labels
are whole numbers, or names. Names stand for the places in `classes`; without it for the places among all names of the
corpus in sorted order, as scikit-learn's LabelEncoder numbers them, if the logits have as many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from datapruner.scoring.scorer import COSMETIC, Batch, Scorer, State
from datapruner.training.ensemble import Ensemble
from prunekernels.io.json_files import Fields, read_object
from prunekernels.io.paths import read_regular

_LONGEST_LIST = 1 << 24


@dataclass(frozen=True)
class ClassifierScorer(Scorer):
    """`logits`: the field or column with a row's logits, [C]; several runs are joined by "+": "run0+run1".

    `ensemble`: a folder of `train_ensemble`, instead of logits. `classes`: the classes of the logits in their order;
    `class_list`: the file that has them, a class a line, or a checkpoint's folder, whose id2label says them.
    """

    logits: str = "logits"
    ensemble: str = field(default="", metadata=COSMETIC)
    # what they are stands in the identity, wherever they were read
    classes: tuple[str, ...] = field(default=(), metadata=COSMETIC)
    class_list: str = field(default="", metadata=COSMETIC)

    needs: ClassVar[tuple[str, ...]] = ("labels",)
    # True: the logits of a row must come from a training that did not see it
    out_of_sample: ClassVar[bool] = False

    def check(self) -> None:
        if not all(self.logits.split("+")):
            raise ValueError(f"{self._name}.logits wants names joined by '+', got {self.logits!r}")
        _ = self._given_classes
        if self.ensemble:
            _ = self._ensemble.runs

    def vectors(self) -> tuple[str, ...]:
        return () if self.ensemble else tuple(self.logits.split("+"))

    def identity(self) -> dict[str, str]:
        if self.ensemble:
            found = {"variant": self._ensemble.variant, "ensemble": self._ensemble.identity}
        else:
            runs = len(self.logits.split("+"))
            found = {"variant": "saved logits" if runs == 1 else f"saved logits, mean over {runs} runs"}
        given = self._given_classes
        return {**found, "classes": json.dumps(given)} if given else found

    def fit(self, corpus: Iterable[Batch]) -> State:
        """The names of all classes, where labels are names that nobody gave a number."""
        names: set[str] = set()
        for batch in [] if self._given_classes else corpus:
            found = {label for label in batch.labels or () if isinstance(label, str)}
            if not names and not found and len(batch):
                # whole numbers: there is nothing to learn
                break
            names |= found
        return {"classes": np.frombuffer(json.dumps(sorted(names)).encode(), np.uint8)} if names else {}

    def runs(self, batch: Batch, labels: torch.Tensor) -> Iterator[torch.Tensor]:
        """The logits of each run, float32 [n, C]; raises ValueError where a label has none."""
        if self.ensemble:
            arrays = dict(zip(self._ensemble.runs, self._ensemble.rows("logits", batch.keys, batch.uids), strict=True))
            found = [(f"seed {seed}", array) for seed, array in arrays.items()]
        else:
            found = [(name, batch.vectors[name]) for name in self.logits.split("+")]
        for name, array in found:
            # views of others' memory are copied
            logits = torch.from_numpy(array.copy())
            beyond = (labels >= logits.shape[1]).nonzero()
            if len(beyond):
                row = int(beyond[0])
                raise ValueError(
                    f"{self._name}: uid {batch.uids[row]!r} has label {int(labels[row])}, "
                    f"{name!r} has {logits.shape[1]} logits"
                )
            yield logits

    def numbered(self, batch: Batch, state: State) -> torch.Tensor:
        """The labels as numbers of classes, int64 [n]; raises ValueError naming the uid of one that has none."""
        learned = json.loads(state["classes"].tobytes()) if "classes" in state else []
        classes = [*self._given_classes] or learned
        self._check_count(batch, classes)
        numbers = {name: number for number, name in enumerate(classes)}
        found: list[int] = []
        for uid, label in zip(batch.uids, batch.labels or (), strict=True):
            number = numbers.get(label) if isinstance(label, str) else label
            if number is None or number < 0 or (learned and not isinstance(label, str)):
                wanted = f"one of {', '.join(classes):.200}" if classes else "a whole number of at least 0"
                raise ValueError(f"{self._name}: want {wanted} as label, got {label!r} for uid {uid!r}")
            found.append(number)
        return torch.tensor(found, dtype=torch.int64)

    def _check_count(self, batch: Batch, classes: list[str]) -> None:
        """Numbers that were given by sorting are right only if no class is missing."""
        if self.ensemble:
            width = next(iter(self._ensemble.runs.values()))["logits"].shape[1]
        else:
            width = batch.vectors[self.vectors()[0]].shape[1]
        if classes and len(batch) and len(classes) != width:
            raise ValueError(
                f"{self._name}: labels name {len(classes)} classes, there are {width} logits: "
                f"want {self._name}.classes, the classes in the order of the logits"
            )

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @cached_property
    def _ensemble(self) -> Ensemble:
        return Ensemble(Path(self.ensemble))

    @cached_property
    def _given_classes(self) -> tuple[str, ...]:
        if self.classes and self.class_list:
            raise ValueError(f"{self._name} wants classes or a class_list, got both")
        names = _listed(Path(self.class_list)) if self.class_list else self.classes
        if len(set(names)) < len(names):
            raise ValueError(f"{self._name}.classes wants each class once, got {', '.join(names):.200}")
        return names


def _listed(path: Path) -> tuple[str, ...]:
    """The classes that a file, or a checkpoint's folder, names."""
    if path.is_dir():
        names = Fields(read_object(path / "config.json"), str(path / "config.json")).fields("id2label")
        return tuple(names.text(str(number)) for number in range(len(names.values)))
    if not path.is_file():
        raise ValueError(f"want a file with a class a line, or a checkpoint's folder, got {str(path)!r}")
    try:
        lines = read_regular(path, _LONGEST_LIST).decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: want a class a line in UTF-8: {error}") from None
    return tuple(line for line in lines if line.strip())
