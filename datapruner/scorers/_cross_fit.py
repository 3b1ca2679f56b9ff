"""Two references, each trained on one half of a corpus to score the other: no row is scored by what learned from it.

Halves are drawn by a hash of the text, so that copies of a text are in one half.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from datapruner.corpus.uids import hash64, splitmix64
from datapruner.scorers._causal_lm import LanguageModel
from datapruner.scorers._drawn import Drawn
from datapruner.scorers._reference_lm import Training, restored, train
from datapruner.scoring.scorer import Batch, State
from datapruner.scoring.workspace import Workspace


def halves(texts: Sequence[str], seed: int) -> list[np.ndarray]:
    """The places of the texts of each half, int64."""
    # another draw than the order in which texts are learned
    is_second = (splitmix64(hash64(texts), seed + 1) & np.uint64(1)).astype(bool)
    return [np.flatnonzero(~is_second), np.flatnonzero(is_second)]


def train_references(corpus: Iterable[Batch], training: Training, workspace: Workspace) -> State:
    """The references of both halves, that of half i trained on the other one."""
    drawn: list[Drawn[str]] = [Drawn(training.characters, len) for _ in range(2)]
    for batch in corpus:
        for own, places in zip(drawn, halves(batch.texts, training.seed), strict=True):
            texts = [batch.texts[place] for place in places]
            own.add(splitmix64(hash64(texts), training.seed), texts)
    state: dict[str, np.ndarray] = {}
    for half in range(2):
        arrays = train(drawn[1 - half].items(), training, workspace, f"reference{half}")
        state |= {f"reference{half}.{name}": array for name, array in arrays.items()}
    return state


def references(state: State, dtype: torch.dtype, device: str) -> list[LanguageModel]:
    """The models that `train_references` made; raises ValueError for a state without them."""
    models = []
    for half in range(2):
        prefix = f"reference{half}."
        own = {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
        if not own:
            raise ValueError("perplexity wants the state that fit(corpus) returned")
        models.append(restored(own, dtype, device))
    return models
