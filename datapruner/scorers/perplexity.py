"""Perplexity of the text under a causal language model (Marion et al. 2023, Ankner et al. 2024).

    perplexity = exp(mean over scored tokens of -log p(token | tokens before it in its window))

Higher is harder for the model. A text of more than `window` tokens is scored in consecutive windows that overlap in one
token, so that every token is scored once; its mean is over all of them, or over those among its first `max_tokens`.
With `bos="none"` nothing is put in front and the first token is not scored; with "add" the tokenizer's BOS stands
before the text and it is. A text with nothing to score gets the vocabulary's size, the perplexity of knowing nothing.
Windows are batched by length inside a batch of rows, so that the score hangs neither on its neighbours nor on its
place, up to the rounding of float32.

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

from datapruner.corpus.uids import splitmix64
from datapruner.scorers._causal_lm import LanguageModel
from datapruner.scorers._cross_fit import halves, references, train_references
from datapruner.scorers._drawn import Drawn
from datapruner.scorers._length_bins import fit_bins, quantiles
from datapruner.scorers._lm_scorer import TextLossScorer
from datapruner.scorers._packed import Packed, tokens_of
from datapruner.scorers._reference_lm import Training
from datapruner.scoring.scorer import NOTHING, Batch, State
from datapruner.scoring.workspace import Workspace

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
class Perplexity(TextLossScorer):
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
    cost: ClassVar[str] = "one forward pass: 2 P FLOP a token for P parameters"
    default_selector: ClassVar[str] = "middle"

    def check(self) -> None:
        if self.reference == "train":
            self._check_fields()
            self._training.check()
        else:
            super().check()

    def identity(self) -> dict[str, str]:
        return {} if self.reference == "train" else super().identity()

    def fit(self, corpus: Iterable[Batch], workspace: Workspace | None = None) -> State:
        state: dict[str, np.ndarray] = {}
        workspace = workspace or Workspace()
        if self.reference == "train":
            state |= train_references(corpus, self._training, workspace)
        if self.level == "sequence":
            state["sequence_loss"] = self._sequence_losses(corpus, state, workspace)
        if self.correct == "length":
            state |= {f"bins.{name}": array for name, array in self._bins(corpus, state).items()}
        return state

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if self.level == "sequence":
            if "sequence_loss" not in state:
                raise ValueError("perplexity wants the state that fit(corpus) returned")
            return np.exp(np.minimum(state["sequence_loss"][batch.rows], LARGEST))
        logs, tokens = self._logs(batch.texts, batch.uids, state)
        if self.correct == "length":
            bins = {name.removeprefix("bins."): array for name, array in state.items() if name.startswith("bins.")}
            return quantiles(bins, tokens, logs)
        return (np.exp(np.minimum(logs, LARGEST)) if self.unit == "perplexity" else logs).astype(np.float32)

    @torch.inference_mode()
    def _logs(self, texts: Sequence[str], uids: Sequence[str], state: State) -> tuple[np.ndarray, np.ndarray]:
        """Log perplexity of each text, or its bits per byte, float64 [n], and its number of scored tokens."""
        found, scored = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
        models = self._models(state)
        for places, model in zip(self._places(texts), models, strict=True):
            own = [texts[place] for place in places]
            documents = model.tokenize(own)
            whole = np.array([len(ids) for ids in documents], dtype=np.int64)
            read = self._begun(model, self._read(documents))
            sums, tokens = self._sums(model, read, [uids[place] for place in places], "nll")
            means, unknown = sums / tokens.clip(1), math.log(model.vocabulary)
            if self.unit == "bits_per_byte":
                sizes = np.array([len(text.encode()) for text in own], dtype=np.int64)
                means, unknown = means * whole / sizes.clip(1) / math.log(2), 8.0
            found[places], scored[places] = np.where(tokens > 0, means, unknown), tokens
        return found, scored

    def _begun(self, model: LanguageModel, documents: Sequence[list[int]]) -> Sequence[list[int]]:
        """`documents` with a BOS where one is wanted."""
        if self.bos == "none":
            return documents
        first = model.tokenizer.bos_token_id
        if first is None:
            raise ValueError(f"perplexity.bos: want a tokenizer with a BOS token, {self.model} has none")
        return [[first, *ids] for ids in documents]

    def _places(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Which of `texts` each model scores."""
        return [np.arange(len(texts))] if self.reference == "model" else halves(texts, self.seed)

    def _models(self, state: State) -> list[LanguageModel]:
        """The model, or the two that were trained, which are made once of a state."""
        if self.reference == "model":
            return [self._loaded]
        known = vars(self).get("_trained")
        if known is None or known[0] is not state.get("reference0.config"):
            models = references(state, getattr(torch, self.dtype), self._torch_device)
            known = vars(self)["_trained"] = (state["reference0.config"], models)
        return known[1]

    def _bins(self, corpus: Iterable[Batch], state: State) -> State:
        """Bins of length, from the rows whose uids are drawn."""
        drawn: Drawn[tuple[str, str]] = Drawn(self.sample)
        for batch in corpus:
            drawn.add(splitmix64(batch.keys, self.seed), [*zip(batch.texts, batch.uids, strict=True)])
        rows = drawn.items()
        logs, tokens = self._logs([text for text, _ in rows], [uid for _, uid in rows], state)
        return fit_bins(tokens, logs)

    def _sequence_losses(self, corpus: Iterable[Batch], state: State, workspace: Workspace) -> np.ndarray:
        """The mean loss of the sequences of each row, float32 by row number; each model has sequences of its own."""
        models = self._models(state)
        parts = [*workspace.each("tokens", corpus, partial(self._tokens, models))]
        losses = np.zeros(sum(len(part[f"rows{half}"]) for part in parts for half in range(len(models))), np.float32)
        for half, model in enumerate(models):
            own = [{name: part[f"{name}{half}"] for name in ("tokens", "lengths", "rows", "keys")} for part in parts]
            packed = Packed(self.window, own)
            found = workspace.each(f"losses{half}", packed.groups(), partial(self._sequence_means, model))
            means = packed.document_means(np.concatenate([np.zeros(0), *(each["means"] for each in found)]))
            rows = np.concatenate([np.zeros(0, np.int64), *(part["rows"] for part in own)])
            losses[rows] = np.where(np.isnan(means), math.log(model.vocabulary), means)
        return losses

    def _tokens(self, models: Sequence[LanguageModel], batch: Batch) -> dict[str, np.ndarray]:
        """What each model is to read of a batch."""
        found: dict[str, np.ndarray] = {}
        for half, (model, places) in enumerate(zip(models, self._places(batch.texts), strict=True)):
            documents = self._read(model.tokenize([batch.texts[place] for place in places]))
            made = tokens_of(documents, model.tokenizer.eos_token_id)
            made |= {"rows": batch.rows[places], "keys": splitmix64(batch.keys[places], self.seed)}
            found |= {f"{name}{half}": array for name, array in made.items()}
        return found

    @torch.inference_mode()
    def _sequence_means(self, model: LanguageModel, sequences: list[list[int]]) -> dict[str, np.ndarray]:
        """The mean loss of each sequence, float64."""
        sums, tokens = self._sums(model, sequences, [f"sequence {i}" for i in range(len(sequences))], "nll")
        return {"means": sums / tokens}

    @property
    def _training(self) -> Training:
        sizes = (self.window, self.vocabulary, self.width, self.layers, self.tokens)
        return Training(*sizes, self.seed, self._torch_device)

    def _check_fields(self) -> None:
        super()._check_fields()
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"perplexity.{name} wants {' or '.join(known)}, got {getattr(self, name)!r}")
        if self.level == "sequence" and (self.bos, self.unit, self.correct) != ("none", "perplexity", "none"):
            raise ValueError("perplexity of level sequence wants bos none, unit perplexity and correct none")
        if self.sample < 1:
            raise ValueError(f"perplexity.sample wants at least 1, got {self.sample}")
