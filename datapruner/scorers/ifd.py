"""Instruction-following difficulty (Li et al. 2023, arXiv:2308.12032): how little a prompt helps with its answer.

    ifd = mean loss of the answer's tokens given the prompt / mean loss of the same tokens without it

Higher is harder: the prompt tells less of the answer. The paper drops what is above 1, where the prompt misleads, and
keeps the highest of the rest; so such a row scores -ifd here, below all others, unless `above_one="kept"`. The first
token of an answer has nothing before it without a prompt and counts in neither mean; an answer of fewer than 2 tokens
has ifd 1. Prompt and answer are tokenized apart, so that both means are over the same tokens. Where both are longer
than `window`, the prompt loses its beginning, down to half a window, and the answer is read in windows.

Long answers have the higher ifd: much of what it picks, length alone picks too. `control="length"` gives the
quantile among rows with answers of about as many tokens, from a sample of `sample` rows: in [0, 1],
and negative above 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.corpus.uids import splitmix64
from datapruner.scorers._drawn import Drawn
from datapruner.scorers._last_batch import last_batch
from datapruner.scorers._length_bins import fit_bins, quantiles
from datapruner.scorers._lm_scorer import TextLossScorer
from datapruner.scoring.scorer import NOTHING, Batch, State

Row = tuple[str, str, str]


@dataclass(frozen=True)
class Ifd(TextLossScorer):
    """Paper: Li et al. 2023 (arXiv:2308.12032); loss of an answer with its prompt over the loss without.

    `prompt` and `answer` name the fields of a row; a line end stands between them.
    """

    prompt: str = "prompt"
    answer: str = "answer"
    above_one: Literal["last", "kept"] = "last"
    control: Literal["none", "length"] = "none"
    sample: int = 4096
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    direction: ClassVar[str] = "higher is an answer that its prompt tells less of; negative is above 1"
    cost: ClassVar[str] = "two forward passes of the answer, one with the prompt: 2 P FLOP a token for P parameters"

    def fields(self) -> tuple[str, ...]:
        return (self.prompt, self.answer)

    def fit(self, corpus: Iterable[Batch]) -> State:
        if self.control == "none":
            return NOTHING
        drawn: Drawn[Row] = Drawn(self.sample)
        for batch in corpus:
            drawn.add(splitmix64(batch.keys, self.seed), self._rows(batch))
        found, tokens = self._ifd(drawn.items())
        return fit_bins(tokens, found)

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        found, tokens = last_batch(self, batch, lambda some: self._ifd(self._rows(some)))
        if self.control == "length":
            if "edges" not in state:
                raise ValueError("ifd wants the state that fit(corpus) returned")
            scores = quantiles(state, tokens, found)
        else:
            scores = found.astype(np.float32)
        return np.where((found > 1) & (self.above_one == "last"), -scores, scores)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`ifd` as printed, float32, and `tokens`: how many it is the mean of, int64."""
        found, tokens = last_batch(self, batch, lambda some: self._ifd(self._rows(some)))
        return {"ifd": found.astype(np.float32), "tokens": tokens}

    def _rows(self, batch: Batch) -> list[Row]:
        return [*zip(batch.fields[self.prompt], batch.fields[self.answer], batch.uids, strict=True)]

    @torch.inference_mode()
    def _ifd(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """ifd of each row, float64 [n], and the number of tokens that count, int64 [n]."""
        prompts = self._loaded.tokenize([f"{prompt}\n" for prompt, _, _ in rows])
        answers = self._read(self._loaded.tokenize([answer for _, answer, _ in rows]))
        uids = [uid for _, _, uid in rows]
        prompts = [self._cut(prompt, len(answer)) for prompt, answer in zip(prompts, answers, strict=True)]
        both = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        alone, tokens = self._sums(self._loaded, answers, uids, "nll")
        given, _ = self._sums(self._loaded, both, uids, "nll", [len(prompt) + 1 for prompt in prompts])
        # a loss of 0 without the prompt leaves nothing that it could help with
        known = (tokens > 0) & (alone > 0)
        return np.where(known, given / np.where(known, alone, 1), 1.0), tokens

    def _cut(self, prompt: list[int], n_answer: int) -> list[int]:
        most = max(self.window - n_answer, self.window // 2)
        return prompt[-most:]

    def _check_fields(self) -> None:
        super()._check_fields()
        for name, known in (("above_one", ("last", "kept")), ("control", ("none", "length"))):
            if getattr(self, name) not in known:
                raise ValueError(f"ifd.{name} wants {' or '.join(known)}, got {getattr(self, name)!r}")
        if self.sample < 1:
            raise ValueError(f"ifd.sample wants at least 1, got {self.sample}")
