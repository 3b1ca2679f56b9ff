"""Label mapping, DP4TL (Zhang et al. 2023, arXiv:2310.08782): classes of a source corpus that a target task looks like.

    score = share of the target rows that a classifier of the source classes takes for the row's class

Higher is a class that more of the target looks like. A small surrogate classifier, trained on the source, gives logits
[C] for each target row; each votes for the class with the largest one. The paper keeps all rows of the classes with
most votes: top keeps whole classes but for the last one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from datapruner.corpus.second_corpus import SECOND_CORPUS
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from datapruner.scoring.second_vectors import SecondVectors


@dataclass(frozen=True)
class LabelMapping(Scorer):
    """Paper: Zhang et al. 2023, DP4TL (arXiv:2310.08782); share of target rows that are taken for the row's class.

    `target` is the target corpus with the field `logits`, or its score table with that column. Labels of the source
    are whole numbers in [0, C).
    """

    target: str = field(default="", metadata=SECOND_CORPUS)
    logits: str = "logits"

    needs: ClassVar[tuple[str, ...]] = ("labels",)
    direction: ClassVar[str] = "higher is a class that more of the target looks like; in [0, 1]"
    cost: ClassVar[str] = "one forward pass over the target, one look-up a row"

    def check(self) -> None:
        self._target.check()

    def identity(self) -> dict[str, str]:
        return {"target": self._target.fingerprint()}

    def fit(self, corpus: Iterable[Batch]) -> State:
        votes = np.zeros(0, np.int64)
        for _, logits in self._target.blocks():
            found = np.bincount(logits.argmax(1), minlength=logits.shape[1])
            votes = found if not len(votes) else votes + found
        return {"votes": votes}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "votes" not in state:
            raise ValueError("label_mapping wants the state that fit(corpus) returned")
        votes = state["votes"]
        for uid, label in zip(batch.uids, batch.labels or (), strict=True):
            if isinstance(label, str) or not 0 <= label < len(votes):
                raise ValueError(f"label_mapping: want labels in [0, {len(votes)}), got {label!r} for uid {uid!r}")
        return (votes[np.array(batch.labels or [], np.int64)] / votes.sum()).astype(np.float32)

    @property
    def _target(self) -> SecondVectors:
        return SecondVectors(self.target, "label_mapping.target", self.logits)
