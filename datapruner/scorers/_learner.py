"""Training a small language model on one stream of tokens, from a checkpoint where there is one.

AdamW with a linear warm-up and half a cosine down. What a step does hangs on the stream, the seed and the number of the
step alone, and a checkpoint holds weights and both moments: a run that goes on ends where one without a stop does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from prunekernels.io.model_loading import check_state

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RATE, LEAST_RATE, WARM_UP, DECAY = 2e-3, 2e-4, 0.05, 0.1
# tokens of a step, and how often a text is learned at most: beyond four times it pays little (arXiv:2305.16264)
STEP_TOKENS, MOST_EPOCHS = 8192, 4
# seconds from one checkpoint to the next
EVERY = 60.0
WEIGHT, STEP, MOMENTS = "weight.", "step", ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Training:
    """Sizes: tokens of a sequence, of the vocabulary, of a hidden state, layers, and tokens that are learned from."""

    window: int
    vocabulary: int
    width: int
    layers: int
    tokens: int
    seed: int
    device: str

    def check(self) -> None:
        if self.vocabulary < 257 or self.width < 8 or self.width % 8 or self.layers < 1 or self.tokens < 1:
            raise ValueError(
                "a reference that is trained wants a vocabulary of at least 257, a width that 8 divides, at least one "
                f"layer and one token, got {self.vocabulary}, {self.width}, {self.layers} and {self.tokens}"
            )

    @property
    def characters(self) -> int:
        """How many characters of text hold the tokens."""
        return 6 * self.tokens


class Learner:
    """`model`, whose head is the table of its embeddings, learning from `stream`, int64 [tokens]."""

    def __init__(self, model: PreTrainedModel, stream: torch.Tensor, training: Training) -> None:
        self.model, self.seed, self.step = model, training.seed, 0
        size = min(training.window, len(stream))
        self.sequences = stream[: len(stream) // size * size].view(-1, size)
        self.together = max(1, min(STEP_TOKENS // size, len(self.sequences)))
        self.steps = math.ceil(min(training.tokens, MOST_EPOCHS * len(stream)) / (self.together * size))
        self.named = dict(model.named_parameters())
        self.optimizer = torch.optim.AdamW(self.named.values(), lr=RATE, betas=(0.9, 0.95), weight_decay=DECAY)

    def run(self, kept: Mapping[str, np.ndarray], save: Callable[[dict[str, np.ndarray]], None]) -> None:
        """All steps that are left, from the checkpoint `kept`, if it is one; `save` gets a new one now and then."""
        if STEP in kept:
            self._restore(kept)
        self.model.train()
        saved = time.monotonic()
        while self.step < self.steps:
            self._learn(self._batch())
            self.step += 1
            if time.monotonic() - saved >= EVERY or self.step == self.steps:
                save(self.arrays())
                saved = time.monotonic()

    def arrays(self) -> dict[str, np.ndarray]:
        """The checkpoint: step, weights and moments."""
        found = {STEP: np.array([self.step], dtype=np.int64)}
        for name, parameter in self.named.items():
            found[f"{WEIGHT}{name}"] = parameter.detach().cpu().numpy().copy()
            for moment in MOMENTS:
                found[f"{moment}.{name}"] = self.optimizer.state[parameter][moment].cpu().numpy().copy()
        return found

    def _restore(self, kept: Mapping[str, np.ndarray]) -> None:
        weights = {name: torch.tensor(kept[f"{WEIGHT}{name}"]) for name in self.named}
        check_state("a checkpoint of training", self.model, with_head(weights))
        self.step = int(kept[STEP][0])
        for name, parameter in self.named.items():
            moments = {moment: torch.tensor(kept[f"{moment}.{name}"]).to(parameter) for moment in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.tensor(float(self.step)), **moments}

    def _batch(self) -> torch.Tensor:
        """The sequences of this step: every epoch goes through all in an order of its own."""
        epoch, place = divmod(self.step, max(1, len(self.sequences) // self.together))
        draws = torch.Generator().manual_seed(self.seed * 1000 + epoch)
        order = torch.randperm(len(self.sequences), generator=draws)
        return self.sequences[order[place * self.together : (place + 1) * self.together]].to(self.model.device)

    def _learn(self, ids: torch.Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.named.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _rate(self) -> float:
        warm = max(1, round(WARM_UP * self.steps))
        if self.step < warm:
            return RATE * (self.step + 1) / warm
        done = (self.step - warm) / max(1, self.steps - warm)
        return LEAST_RATE + (RATE - LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2


def with_head(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`weights` of a model whose head is its table of embeddings, under both names."""
    return weights | {"lm_head.weight": weights["model.embed_tokens.weight"]}
