"""Perplexity of a passage to a causal language model, the lower the better (a baseline of Chang et al. 2024).

    score(d) = - (1 / n) sum over the passage's tokens of -ln p(token | the tokens before it) = -ln PPL(d)

in nats per token, at most 0. Higher = reads like what the model has seen: kept. Broken encodings, tables of numbers and
lists of names come last; but so do rare words, while well-worded boilerplate comes first.

The first token counts where the tokenizer begins texts with a token of its own. A passage longer than `max_length` is
read in windows, each with half of the one before it, so that every token counts once and has at least half a window
before it. A passage without tokens to score is worth as much as one drawn at random, -ln of the vocabulary's size.
Nothing hangs on the batch: what is padded is masked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from contextpruner.models.batches import Row, check_batch_size
from contextpruner.models.causal_lm import CausalLM, load_causal_lm
from contextpruner.models.document_tokens import encode_text
from contextpruner.models.loading import Precision
from contextpruner.quality import Quality

# passages that are sorted by length before they are put into batches
AHEAD = 256


@dataclass(frozen=True)
class Perplexity(Quality):
    """The mean log-probability of a passage's tokens under a causal language model."""

    model: str = "HuggingFaceTB/SmolLM2-135M"
    max_length: int = 1024
    batch_size: int = 16
    precision: Precision = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        check_batch_size("perplexity", self.batch_size)
        if self.max_length < 8:
            raise ValueError(f"perplexity wants a max_length of at least 8, got {self.max_length}")

    def score(self, passage: str) -> float:
        return next(self.scores([passage]))

    def scores(self, passages: Iterable[str]) -> Iterator[float]:
        waiting = iter(passages)
        while some := list(itertools.islice(waiting, AHEAD)):
            cut = [self._rows(passage) for passage in some]
            losses = iter(self._loaded.mean_nll([row for rows in cut for row in rows], self.batch_size))
            for rows in cut:
                total = math.fsum(scored * next(losses) for _, scored in rows)
                n_scored = sum(scored for _, scored in rows)
                yield -total / n_scored if n_scored else -math.log(self._loaded.head.out_features)

    def _rows(self, passage: str) -> list[tuple[Row, int]]:
        """The windows of a passage, and how many of the last tokens of each count."""
        first = self._loaded.first
        ids = [*first, *encode_text(self._loaded.tokenizer, passage)[0]]
        window = self._loaded.window
        rows = [(Row(tuple(ids[:window]), 0), max(len(ids[:window]) - 1, 0))]
        for end in range(window, len(ids), window // 2):
            last = min(end + window // 2, len(ids))
            rows.append((Row(tuple(ids[last - window : last]), 0), last - end))
        return rows if len(ids) > 1 else []

    @cached_property
    def _loaded(self) -> CausalLM:
        return load_causal_lm(self.model, self.precision, self.device, self.max_length)
