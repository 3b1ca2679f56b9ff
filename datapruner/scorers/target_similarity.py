"""Similarity to target examples in a language model's hidden states: RDS+ (Ivison et al. 2025, arXiv:2503.01807).

A text's vector is the mean of its last hidden states, token i with weight i, so that tokens which have read more count
more. `combine` says how its cosines with the target examples become one score:

round_robin  as in the paper: the examples take turns, each takes the row nearest to it that is not taken yet;
             score = 1 - place / rows, in (0, 1], so that the top n are what n turns take. No example is left out,
             however far the corpus is from it
max, mean    of the cosines, in [-1, 1]: a row's score hangs on no other row

A text is cut to its first `window` tokens; one without any has the cosine 0. Cosines are compared to five digits, and
equal ones by a hash of the uid. Round robin embeds the corpus in `fit`, by one process, and needs 8 bytes a row and
example of temporary disk, and 4 of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.corpus.uids import splitmix64
from datapruner.scorers._last_batch import last_batch
from datapruner.scorers._lm_scorer import LanguageModelScorer
from datapruner.scorers._round_robin import round_robin
from datapruner.scorers._windows import Window
from datapruner.scoring.scorer import NOTHING, Batch, State
from datapruner.scoring.workspace import Workspace
from prunekernels._unit import unit_rows


@dataclass(frozen=True)
class TargetSimilarity(LanguageModelScorer):
    """Paper: Ivison et al. 2025, RDS+ (arXiv:2503.01807); nearness to target examples in hidden states.

    `target` is the corpus of examples, a path as sources take it, with its texts in the field `target_text`.
    """

    target: str = field(default="", metadata=SECOND_CORPUS)
    target_text: str = "text"
    combine: Literal["round_robin", "max", "mean"] = "round_robin"

    direction: ClassVar[str] = "higher is nearer to the target"
    cost: ClassVar[str] = "one forward pass, 2 P FLOP a token for P parameters, and 2 d FLOP a row and example"

    def check(self) -> None:
        super().check()
        self._examples.check()

    def identity(self) -> dict[str, str]:
        return {**super().identity(), "target": self._examples.fingerprint()}

    def fit(self, corpus: Iterable[Batch], workspace: Workspace | None = None) -> State:
        workspace = workspace or Workspace()
        parts = workspace.each("targets", self._examples.texts(), lambda texts: {"vectors": self._vectors(texts)})
        targets = np.concatenate([part["vectors"] for part in parts])
        if self.combine != "round_robin":
            return {"targets": targets}
        found = [*workspace.each("vectors", corpus, self._kept)]
        if not found:
            return {"place": np.zeros(0, np.int64), "nearest": np.zeros(0, np.int64)}
        rows, keys = (np.concatenate([part[name] for part in found]) for name in ("rows", "keys"))
        place, nearest = round_robin([part["vectors"] @ targets.T for part in found], splitmix64(keys, 0))
        order = np.argsort(rows)
        return {"place": place[order], "nearest": nearest[order]}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if self.combine == "round_robin":
            if "place" not in state:
                raise ValueError("target_similarity wants the state that fit(corpus) returned")
            return (1 - state["place"][batch.rows] / max(len(state["place"]), 1)).astype(np.float32)
        cosines = self._cosines(batch, state)
        return (cosines.max(1) if self.combine == "max" else cosines.mean(1)).astype(np.float32)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`nearest_target`: the number of the example with the largest cosine, from 0 in the order of the corpus."""
        if self.combine == "round_robin":
            return {"nearest_target": state["nearest"][batch.rows]}
        return {"nearest_target": self._cosines(batch, state).argmax(1)}

    def _cosines(self, batch: Batch, state: State) -> np.ndarray:
        if "targets" not in state:
            raise ValueError("target_similarity wants the state that fit(corpus) returned")
        return last_batch(self, batch, lambda some: self._vectors(some.texts) @ state["targets"].T)

    def _kept(self, batch: Batch) -> dict[str, np.ndarray]:
        return {"rows": batch.rows, "keys": batch.keys, "vectors": self._vectors(batch.texts)}

    @torch.inference_mode()
    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        """The vector of each text, float32 [n, d] of length 1, or 0."""
        found = torch.zeros(len(texts), self._loaded.width)
        windows = [Window(row, ids[: self.window]) for row, ids in enumerate(self._loaded.tokenize(texts)) if ids]
        for some in self._batches(windows, self._loaded.is_on_cpu):
            for window, hidden in zip(some, self._loaded.hidden([window.ids for window in some]), strict=True):
                weights = torch.arange(1, len(hidden) + 1, device=hidden.device, dtype=torch.float32)
                found[window.document] = (weights @ hidden / weights.sum()).cpu()
        return unit_rows(found).numpy()

    def _check_fields(self) -> None:
        super()._check_fields()
        if self.combine not in ("round_robin", "max", "mean"):
            raise ValueError(f"target_similarity.combine wants round_robin, max or mean, got {self.combine!r}")

    @property
    def _examples(self) -> SecondCorpus:
        return SecondCorpus(self.target, "target_similarity.target", self.target_text)
