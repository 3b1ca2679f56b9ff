"""How well question and unit explain each other to a causal language model.

After LongLLMLingua (Jiang et al. 2023, arXiv:2310.06839), its ranking by perplexity and its contrast:

    gain(u) = mean over the tokens x of nll(x) - nll(x | given)
    probability(u) = sigmoid(gain) = PPL(x) / (PPL(x) + PPL(x | given))

    of "question"    x is the question, given is the unit: how much less surprising the question is behind the unit
    of "unit"        x is the unit, given is the question: the contrast, how much less surprising the unit is

nll in nats per token, PPL its exponential. Higher = the two explain each other more; 0.5 = nothing to do with each
other. Not a probability of relevance; it only orders units, and gains are small: thresholds lie around 0.5.

The texts read "Question: ..." and "Document: ..." (with the title before the unit), in this order of giving, a line
each; without anything given the same words stand alone. `model` is a folder or hub id of a causal language model whose
logits are its head times the last hidden state. A unit, or question, of more than a third of the window is read by its
beginning. `precision` "int8" is for CPUs, a row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from contextpruner.labeler import Labeler, Labels
from contextpruner.models.batches import Row, check_batch_size
from contextpruner.models.causal_lm import CausalLM, load_causal_lm
from contextpruner.models.document_tokens import encode_text
from contextpruner.models.loading import Precision
from contextpruner.units.split import SplitDocument


@dataclass(frozen=True)
class TokenNll(Labeler):
    """How much less surprising the question is behind the unit, to a causal language model; or the unit behind it."""

    model: str = "HuggingFaceTB/SmolLM2-135M"
    of: Literal["question", "unit"] = "question"
    use_title: bool = True
    max_length: int = 1024
    batch_size: int = 16
    precision: Precision = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        check_batch_size("token_nll", self.batch_size)
        if self.max_length < 64:
            raise ValueError(f"token_nll wants a max_length of at least 64, got {self.max_length}")

    def prepare(self) -> None:
        _ = self._loaded

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        asked = self._tokens("Question:", question)
        units = [
            self._tokens("Document:", self._text(document, text)) for document in documents for text in document.texts
        ]
        of_question = self.of == "question"
        given = [(unit, asked) if of_question else (asked, unit) for unit in units]
        bare = [asked] if of_question else units
        rows = [(self._row(two, one), len(one[1])) for two, one in given]
        rows += [(self._row(None, one), len(one[1])) for one in bare]
        said = self._loaded.mean_nll(rows, self.batch_size)
        gain = np.array(said[len(units) :]) - np.array(said[: len(units)])
        probability = (1 / (1 + np.exp(-gain.clip(-80, 80)))).astype(np.float32)
        return Labels.of_all_units(probability, documents)

    def _text(self, document: SplitDocument, text: str) -> str:
        title = document.document.title if self.use_title else None
        return f"{title}\n{text.strip()}" if title else text.strip()

    def _tokens(self, name: str, text: str) -> tuple[list[int], list[int]]:
        """The tokens of the name before a text, and those of the text."""
        loaded = self._loaded
        third = (loaded.window - len(loaded.first)) // 3
        return encode_text(loaded.tokenizer, name)[0][:third], encode_text(loaded.tokenizer, f" {text}")[0][:third]

    def _row(self, given: tuple[list[int], list[int]] | None, scored: tuple[list[int], list[int]]) -> Row:
        loaded = self._loaded
        before = (*given[0], *given[1], *encode_text(loaded.tokenizer, "\n")[0]) if given else ()
        return Row((*loaded.first, *before, *scored[0], *scored[1]), 0)

    @cached_property
    def _loaded(self) -> CausalLM:
        return load_causal_lm(self.model, self.precision, self.device, self.max_length)
