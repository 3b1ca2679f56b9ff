"""LLMLingua-2 (Pan et al. 2024, arXiv:2403.12968): a token classifier that says what of a text carries information.

    keep[t] = softmax(logits[t])[1]
    word(w) = mean over the tokens of w of keep[t]
    probability(u) = mean over the words of u of word(w)

Higher = more of the unit is kept when the text is compressed. It does not read the question, and its numbers are not
a probability of relevance: it says which units are dense, whatever they are about. Words are the tokenizer's own; a
word that runs on from one unit into the next, as in scripts without spaces, counts in each with the tokens there.

`model` is a folder or hub id of a {Bert, XLMRoberta}ForTokenClassification with two labels, of which 1 is to keep.
The text is read in windows that end where units do, without title or overlap. `precision`
"int8" is for CPUs, a row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from contextpruner.labeler import Labeler, Labels
from contextpruner.models.batches import Batch, check_batch_size, pad_id, run_batches
from contextpruner.models.document_tokens import DocumentTokens, tokenize_document
from contextpruner.models.loading import Precision, batch_size_for, max_tokens_of, model_of, to_device, tokenizer_of
from contextpruner.models.packing import PackedRow, SpecialTokens, pack, text_only
from contextpruner.models.windows import overlapping_windows
from contextpruner.units.split import SplitDocument
from prunekernels.io.checkpoint import find_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# tokens of text in a window, and two special ones
WINDOW = 512


class Loaded(NamedTuple):
    """A checkpoint, ready to run."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    template: SpecialTokens
    window: int
    device: torch.device


@dataclass(frozen=True)
class Llmlingua2(Labeler):
    """Token decisions of LLMLingua-2, which reads no question, as means over the words of a unit."""

    model: str = "microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank"
    batch_size: int = 32
    precision: Precision = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        check_batch_size("llmlingua2", self.batch_size)

    def prepare(self) -> None:
        _ = self._loaded

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        loaded = self._loaded
        texts = [tokenize_document(loaded.tokenizer, document, use_title=False) for document in documents]
        rows = [self._rows(document, text) for document, text in zip(documents, texts, strict=True)]
        flat = [packed for document in rows for packed in document]
        pad = pad_id(loaded.tokenizer)
        said = iter(
            run_batches(
                [packed.row for packed in flat], batch_size_for(self.precision, self.batch_size), pad, self._keep
            )
        )
        keep = [np.concatenate([packed.own(next(said)) for packed in document]) for document in rows]
        found = zip(texts, keep, documents, strict=True)
        return Labels.best_unit([_word_means(text, values, len(document.units)) for text, values, document in found])

    def _rows(self, document: SplitDocument, text: DocumentTokens) -> list[PackedRow]:
        loaded = self._loaded
        return pack(
            loaded.template,
            (),
            text,
            loaded.window,
            lambda room: overlapping_windows(document.units, text.ends, room, with_context=False),
        )

    def _keep(self, batch: Batch) -> torch.Tensor:
        device = self._loaded.device
        logits = self._loaded.model(input_ids=batch.ids.to(device), attention_mask=batch.mask.to(device)).logits
        return logits.float().softmax(-1)[..., 1]

    @cached_property
    def _loaded(self) -> Loaded:
        checkpoint = find_checkpoint(self.model)
        model = model_of(checkpoint, "TokenClassification")
        config = model.config
        if config.num_labels != 2:
            raise ValueError(f"{checkpoint.folder}: want a token classifier with 2 labels, got {config.num_labels}")
        tokenizer = tokenizer_of(checkpoint, config)
        placed = to_device(model, self.precision, self.device)
        device = next(placed.parameters()).device
        return Loaded(placed, tokenizer, text_only(tokenizer), max_tokens_of(config, WINDOW), device)


def _word_means(text: DocumentTokens, keep: np.ndarray, n_units: int) -> np.ndarray:
    """float32 [units]: the mean over the words of each unit, each the mean of its tokens there."""
    pairs = np.stack([text.unit, text.word], 1)
    words, place = np.unique(pairs, axis=0, return_inverse=True)
    counts = np.bincount(place.ravel(), minlength=len(words))
    means = np.bincount(place.ravel(), keep[text.token], len(words)) / counts
    total = np.bincount(words[:, 0], means, n_units)
    sizes = np.bincount(words[:, 0], minlength=n_units)
    return np.divide(total, sizes, out=np.zeros(n_units), where=sizes > 0).clip(0, 1).astype(np.float32)
