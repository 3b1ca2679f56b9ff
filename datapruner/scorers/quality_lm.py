"""Quality as a language model reads it (Chang et al. 2024, QualT5, arXiv:2407.12170): one word behind the text.

    score = log p(true), with p over the two words true and false as the next ones behind the prompt

Higher is better. The prompt is the paper's, "Document: {} Relevant:"; its checkpoints are T5 models, whose first
decoded word is read; of other models it is the word behind the prompt. A text is cut where prompt and text would be
longer than `window` tokens. Only the two words' logits are computed: one pass over the text, no decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from datapruner.scorers._causal_lm import LanguageModel, checked_checkpoint
from datapruner.scorers._encoder_decoder import EncoderDecoder, load_encoder_decoder
from datapruner.scorers._lm_scorer import LanguageModelScorer
from datapruner.scorers._windows import Window
from datapruner.scoring.scorer import NOTHING, Batch, State


@dataclass(frozen=True)
class QualityLm(LanguageModelScorer):
    """Paper: Chang et al. 2024, QualT5 (arXiv:2407.12170); log probability of "true" against "false".

    `prompt` has {} where the text comes; of `positive` and `negative` the first token counts in which they differ,
    behind those that both begin with.
    """

    window: int = 512
    prompt: str = "Document: {} Relevant:"
    positive: str = " true"
    negative: str = " false"

    direction: ClassVar[str] = "higher is better; log probability, at most 0"
    cost: ClassVar[str] = "one forward pass: 2 P FLOP a token for P parameters"

    def _check_fields(self) -> None:
        super()._check_fields()
        if self.prompt.count("{}") != 1:
            raise ValueError(f"quality_lm.prompt wants one {{}} for the text, got {self.prompt!r}")

    @torch.inference_mode()
    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        reader, found = self._reader, np.zeros(len(batch), dtype=np.float32)
        windows = [Window(row, ids) for row, ids in enumerate(self._prompts(batch.texts))]
        for some in self._batches(windows, reader.is_on_cpu):
            logits = reader.last_logits([window.ids for window in some], self._shared, self._words)
            found[[window.document for window in some]] = logits.log_softmax(-1)[:, 0].numpy()
        return found

    def _prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each prompt, its text cut to fit."""
        tail = self._reader.tokenize([self.prompt.partition("{}")[2]])[0]
        end = [] if isinstance(self._reader, LanguageModel) else self._reader.ends
        most = self.window - len(end) - len(self._shared)
        room = most - len(tail)
        if room < 1:
            raise ValueError(f"quality_lm.window is {self.window}, the prompt alone has more tokens")
        whole = self._reader.tokenize([self.prompt.replace("{}", text) for text in texts])
        return [[*(ids if len(ids) <= most else [*ids[:room], *tail]), *end] for ids in whole]

    @property
    def _shared(self) -> list[int]:
        return self._tokens[0]

    @property
    def _words(self) -> list[int]:
        return self._tokens[1]

    @cached_property
    def _tokens(self) -> tuple[list[int], list[int]]:
        """What both words begin with, and the two tokens in which they differ first."""
        pairs = [*zip(*self._reader.tokenize([self.positive, self.negative]), strict=False)]
        differ = next((place for place, (positive, negative) in enumerate(pairs) if positive != negative), None)
        if differ is None:
            raise ValueError(f"quality_lm wants words of unlike tokens, got {self.positive!r} and {self.negative!r}")
        return [shared for shared, _ in pairs[:differ]], [*pairs[differ]]

    @cached_property
    def _reader(self) -> LanguageModel | EncoderDecoder:
        if not checked_checkpoint(self.model).config.get("is_encoder_decoder"):
            return self._loaded
        self.check()
        return load_encoder_decoder(self.model, getattr(torch, self.dtype), self._torch_device)
