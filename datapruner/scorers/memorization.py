"""Memorization (Biderman et al. 2023, arXiv:2304.11158): how much of a text a language model says by heart.

    score = share of the N tokens behind the first M that greedy decoding from the first M gets, place by place

Higher is more memorized; M = N = 32 as in the paper and in Marion et al. 2023 (When Less is More). The model goes on
from its own tokens, not from the text's. Of a text of fewer than M + N tokens those behind the first M are compared; a
text of at most M tokens has none and gets 0. The detail `compared` says how many there were.

All prompts have one length, so that a batch has no pads. Cost: a pass over M + N tokens of each row, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._last_batch import last_batch
from datapruner.scorers._lm_scorer import LanguageModelScorer
from datapruner.scoring import progress
from datapruner.scoring.scorer import NOTHING, Batch, State


@dataclass(frozen=True)
class Memorization(LanguageModelScorer):
    """Paper: Biderman et al. 2023 (arXiv:2304.11158); share of greedily continued tokens that are the text's.

    `prompt` and `continuation` are M and N, numbers of tokens.
    """

    prompt: int = 32
    continuation: int = 32

    direction: ClassVar[str] = "higher is more memorized; in [0, 1]"
    cost: ClassVar[str] = "one forward pass a token that is written: 2 P FLOP each for P parameters"
    default_selector: ClassVar[str] = "middle"

    def _check_fields(self) -> None:
        super()._check_fields()
        if min(self.prompt, self.continuation) < 1 or self.prompt + self.continuation > self.window:
            raise ValueError(
                "memorization wants a prompt and a continuation of at least 1 token that fit into the window of "
                f"{self.window}, got {self.prompt} and {self.continuation}"
            )

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        right, compared = last_batch(self, batch, self._compared)
        return (right / compared.clip(1)).astype(np.float32)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`compared`: how many tokens the share is of, int32."""
        return {"compared": last_batch(self, batch, self._compared)[1].astype(np.int32)}

    @torch.inference_mode()
    def _compared(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """How many tokens of each row the model says as they are, and of how many, int64 [n]."""
        most = self.prompt + self.continuation
        documents = [ids[:most] for ids in self._loaded.tokenize(batch.texts)]
        compared = np.array([max(0, len(ids) - self.prompt) for ids in documents], dtype=np.int64)
        right = np.zeros(len(documents), dtype=np.int64)
        # the longest together: none is continued farther than it is compared
        order = np.argsort(-compared, kind="stable")[: np.count_nonzero(compared)]
        together = max(1, (self.batch_tokens or (1024 if self._loaded.is_on_cpu else 16384)) // most)
        for start in range(0, len(order), together):
            rows = order[start : start + together].tolist()
            said = self._loaded.continued([documents[row][: self.prompt] for row in rows], int(compared[rows[0]]))
            for row, tokens in zip(rows, said.tolist(), strict=True):
                text = documents[row][self.prompt :]
                right[row] = sum(map(int.__eq__, tokens, text))
            progress.advance(len(rows), sum(len(documents[row]) for row in rows))
        return right, compared
