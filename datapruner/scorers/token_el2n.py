"""EL2N over tokens (Marion et al. 2023, arXiv:2309.04564): how far a language model's guesses are from the text.

    score = mean over scored tokens of || p(. | tokens before) - onehot(token) ||_2

Higher is harder for the model; in [0, sqrt(2)]. The norm runs over the whole vocabulary, whose probabilities are never
stored. The paper scores with an early checkpoint of a reference and takes the mean of about ten seeds, as one ranks
noisily: make a column of each. Windows, batches and the first token are those of `perplexity`; a text with nothing to
score gets what a model gets that knows nothing, sqrt(1 - 1 / vocabulary).

`el2n` is the same score for rows with one label each, from logits that a training run saved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._lm_scorer import TextLossScorer
from datapruner.scoring.scorer import NOTHING, Batch, State


@dataclass(frozen=True)
class TokenEl2n(TextLossScorer):
    """Paper: Marion et al. 2023, When Less is More (arXiv:2309.04564); mean error norm of a model's tokens."""

    direction: ClassVar[str] = "higher is harder for the model; in [0, sqrt(2)]"
    cost: ClassVar[str] = "one forward pass: 2 P FLOP a token for P parameters"
    default_selector: ClassVar[str] = "middle"

    @torch.inference_mode()
    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        documents = self._read(self._loaded.tokenize(batch.texts))
        sums, tokens = self._sums(self._loaded, documents, batch.uids, "el2n")
        unknown = math.sqrt(1 - 1 / self._loaded.vocabulary)
        return np.where(tokens > 0, sums / tokens.clip(1), unknown).astype(np.float32)
