"""Perplexity of the text under a causal language model (Marion et al. 2023, Ankner et al. 2024).

    perplexity = exp(mean over scored tokens of -log p(token | tokens before it in its window))

Higher is harder for the model. A text of more than `window` tokens is scored in consecutive windows that overlap in one
token, so that every token is scored once; its mean is over all of them. With `bos="none"` nothing is put in front and
the first token is not scored; with "add" the tokenizer's BOS stands before the text and it is. A text with nothing to
score gets the vocabulary's size, the perplexity of knowing nothing. Windows are batched by length inside a batch of
rows, so that the score hangs neither on its neighbours nor on its place, up to the rounding of float32.

`unit="bits_per_byte"` compares models and languages of unlike tokens: bits of the mean token times tokens of the text
over its bytes; 8 where nothing is scored. `correct="length"` gives the quantile among rows of about as many tokens
instead, in [0, 1], from a sample of `sample` rows: short texts scatter most, and are otherwise first at both ends.

`level="sequence"` is the unit of Marion et al. 2023 (When Less is More, arXiv:2309.04564): texts stand one after
another in an order drawn by uid, an end-of-text token behind each, cut into sequences of `window` tokens. A row gets
the mean over its tokens of the log perplexities of the sequences they are in, so that a row that fills one sequence
stands or falls with it.

`reference="train"` scores without a model of somebody else: a byte-level BPE tokenizer and a small Llama are trained on
one half of the corpus and score the other, and another pair the other way round, so that every row has a score and none
is scored by a model that learned from it (two-fold cross-fitting). Halves are drawn by a hash of the text, not of
the uid: copies of a text are in one half. Training is deterministic by `seed` on one kind of machine. Two models
differ by a little, and so do their tokens: prefer bits per byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.corpus.uids import hash64, splitmix64
from datapruner.scorers import _causal_lm, _reference_lm
from datapruner.scorers._drawn import Drawn
from datapruner.scorers._length_bins import fit_bins, quantiles
from datapruner.scorers._lm_scorer import LanguageModelScorer
from datapruner.scorers._packed import Packed
from datapruner.scoring.scorer import NOTHING, Batch, State

CHOICES = {
    "level": ("document", "sequence"),
    "bos": ("none", "add"),
    "unit": ("perplexity", "bits_per_byte"),
    "correct": ("none", "length"),
    "reference": ("model", "train"),
}
# of exp in float32
LARGEST = math.log(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Perplexity(LanguageModelScorer):
    """Paper: Ankner et al. 2024, Perplexed by Perplexity (arXiv:2405.20541); exp of the mean token loss.

    `vocabulary`, `width`, `layers` and `tokens` (how many are learned from) are of a reference that is trained.
    """

    level: Literal["document", "sequence"] = "document"
    bos: Literal["none", "add"] = "none"
    unit: Literal["perplexity", "bits_per_byte"] = "perplexity"
    correct: Literal["none", "length"] = "none"
    sample: int = 4096
    reference: Literal["model", "train"] = "model"
    vocabulary: int = 8192
    width: int = 256
    layers: int = 4
    tokens: int = 4_000_000
    seed: int = 0

    direction: ClassVar[str] = "higher is harder for the model"
    default_selector: ClassVar[str] = "middle"

    def check(self) -> None:
        if self.reference == "train":
            self._check_fields()
            self._training.check()
        else:
            super().check()

    def identity(self) -> dict[str, str]:
        return {} if self.reference == "train" else super().identity()

    def fit(self, corpus: Iterable[Batch]) -> State:
        state: dict[str, np.ndarray] = {}
        if self.reference == "train":
            state |= self._trained(corpus)
        if self.level == "sequence":
            state["sequence_loss"] = self._sequence_losses(corpus, state)
        if self.correct == "length":
            state |= {f"bins.{name}": array for name, array in self._bins(corpus, state).items()}
        return state

    @torch.inference_mode()
    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if self.level == "sequence":
            return np.exp(np.minimum(state["sequence_loss"][batch.rows], LARGEST)).astype(np.float32)
        logs, tokens = self._log_perplexities(batch.texts, batch.uids, state)
        if self.correct == "length":
            bins = {name.removeprefix("bins."): array for name, array in state.items() if name.startswith("bins.")}
            return quantiles(bins, tokens, logs)
        return (np.exp(np.minimum(logs, LARGEST)) if self.unit == "perplexity" else logs).astype(np.float32)

    def _log_perplexities(
        self, texts: Sequence[str], uids: Sequence[str], state: State
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log perplexity of each text, or its bits per byte, float64 [n], and its number of scored tokens."""
        found, scored = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
        for rows, model in self._models(texts, state):
            documents = model.tokenize([texts[row] for row in rows])
            whole = np.array([len(ids) for ids in documents])
            sums, tokens = self._sums(model, self._with_bos(model, documents), [uids[row] for row in rows], "nll")
            means = sums / tokens.clip(1)
            if self.unit == "bits_per_byte":
                sizes = np.array([len(texts[row].encode()) for row in rows])
                known, unknown = means * whole / sizes.clip(1) / math.log(2), 8.0
            else:
                known, unknown = means, math.log(model.vocabulary)
            found[rows], scored[rows] = np.where(tokens > 0, known, unknown), tokens
        return found, scored

    def _with_bos(self, model: _causal_lm.LanguageModel, documents: Sequence[list[int]]) -> Sequence[list[int]]:
        if self.bos == "none":
            return documents
        first = model.tokenizer.bos_token_id
        if first is None:
            raise ValueError(f"perplexity.bos: want a tokenizer with a BOS token, {self.model} has none")
        return [[first, *ids] for ids in documents]

    def _bins(self, corpus: Iterable[Batch], state: State) -> State:
        """Bins of length from the rows whose uids are drawn."""
        drawn: Drawn[tuple[str, str]] = Drawn(self.sample)
        for batch in corpus:
            drawn.add(splitmix64(batch.keys, self.seed), [*zip(batch.texts, batch.uids, strict=True)])
        texts, uids = [text for text, _ in drawn.items()], [uid for _, uid in drawn.items()]
        with torch.inference_mode():
            logs, tokens = self._log_perplexities(texts, uids, state)
        return fit_bins(tokens, logs)

    def _trained(self, corpus: Iterable[Batch]) -> dict[str, np.ndarray]:
        """The two references; that of half i has learned from the other one."""
        halves: list[Drawn[str]] = [Drawn(self._training.characters, len) for _ in range(2)]
        for batch in corpus:
            for half, rows in enumerate(self._halves(batch.texts)):
                texts = [batch.texts[row] for row in rows]
                halves[half].add(splitmix64(hash64(texts), self.seed), texts)
        state: dict[str, np.ndarray] = {}
        for half in range(2):
            arrays = _reference_lm.train(halves[1 - half].items(), self._training)
            state |= {f"reference{half}.{name}": array for name, array in arrays.items()}
        return state

    def _halves(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The places of the texts of each half."""
        # another draw than the order in which a half is learned
        is_second = (splitmix64(hash64(texts), self.seed + 1) & np.uint64(1)).astype(bool)
        return np.flatnonzero(~is_second), np.flatnonzero(is_second)

    def _models(self, texts: Sequence[str], state: State) -> list[tuple[np.ndarray, _causal_lm.LanguageModel]]:
        """Places of `texts`, and the model that scores them."""
        if self.reference == "model":
            return [(np.arange(len(texts)), self._loaded)]
        models = self._references(state)
        return [(rows, model) for rows, model in zip(self._halves(texts), models, strict=True) if len(rows)]

    def _references(self, state: State) -> list[_causal_lm.LanguageModel]:
        """The trained models of `state`, made once."""
        known = vars(self).get("_made_references")
        if known is not None and known[0] is state.get("reference0.config"):
            return known[1]
        if "reference0.config" not in state:
            raise ValueError("perplexity wants the state that fit(corpus) returned")
        dtype, models = getattr(torch, self.dtype), []
        for half in range(2):
            prefix = f"reference{half}."
            own = {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
            models.append(_reference_lm.restored(own, dtype, self._torch_device))
        vars(self)["_made_references"] = (state["reference0.config"], models)
        return models

    @property
    def _training(self) -> _reference_lm.Training:
        sizes = (self.window, self.vocabulary, self.width, self.layers, self.tokens)
        return _reference_lm.Training(*sizes, self.seed, self._torch_device)

    def _check_fields(self) -> None:
        super()._check_fields()
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"perplexity.{name} wants {' or '.join(known)}, got {getattr(self, name)!r}")
        if self.level == "sequence" and (self.bos, self.unit, self.correct) != ("none", "perplexity", "none"):
            raise ValueError("perplexity of level sequence wants bos none, unit perplexity and correct none")
        if self.sample < 1:
            raise ValueError(f"perplexity.sample wants at least 1, got {self.sample}")

    @torch.inference_mode()
    def _sequence_losses(self, corpus: Iterable[Batch], state: State) -> np.ndarray:
        """The mean loss of each row's sequences, float32 by row number; each half has its own sequences."""
        packed = [Packed(self.window) for _ in range(1 if self.reference == "model" else 2)]
        with packed[0], packed[-1]:
            models = [self._loaded] if self.reference == "model" else self._references(state)
            for batch in corpus:
                places = [np.arange(len(batch))] if self.reference == "model" else self._halves(batch.texts)
                for rows, model, part in zip(places, models, packed, strict=True):
                    documents = model.tokenize([batch.texts[row] for row in rows])
                    ends = [] if model.tokenizer.eos_token_id is None else [model.tokenizer.eos_token_id]
                    part.add(batch.rows[rows], splitmix64(batch.keys[rows], self.seed), documents, ends)
            losses = np.zeros(sum(part.n_rows for part in packed), dtype=np.float32)
            for part, model in zip(packed, models, strict=True):
                rows, means = part.row_means(partial(self._means, model))
                losses[rows] = np.where(np.isnan(means), math.log(model.vocabulary), means)
        return losses

    def _means(self, model: _causal_lm.LanguageModel, sequences: list[list[int]]) -> list[float]:
        """The mean loss of each sequence."""
        sums, tokens = self._sums(model, sequences, [f"sequence {i}" for i in range(len(sequences))], "nll")
        return (sums / tokens).tolist()
