"""Cross-encoder: question and one unit at a time through a reranker (DSLR, Hwang et al. 2024, arXiv:2407.03627).

    probability(u) = sigmoid(logit)        a model with one label
    probability(u) = softmax(logits)[1]    a model with two

of the pair (question, title and unit), in the tokenizer's own form of a pair. Higher = more relevant by itself: a unit
is judged without its neighbours. It is the model's own number and not a probability of anything unless the model was
trained so; 0.1 to 0.5 is where to begin. A pair longer than the window loses the end of the unit, and a question of
more than half a window its own end.

`model` is a folder or hub id of any AutoModelForSequenceClassification. Equal pairs are computed once. `precision`
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
from contextpruner.models.batches import Batch, Row, check_batch_size, pad_id, run_batches
from contextpruner.models.document_tokens import encode_text
from contextpruner.models.loading import Precision, batch_size_for, max_tokens_of, model_of, to_device, tokenizer_of
from contextpruner.models.packing import SpecialTokens, paired
from contextpruner.units.split import SplitDocument
from prunekernels.io.checkpoint import find_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Loaded(NamedTuple):
    """A checkpoint, ready to run."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    template: SpecialTokens
    window: int
    device: torch.device
    has_types: bool


@dataclass(frozen=True)
class CrossEncoder(Labeler):
    """A reranker's number for the pair of question and unit, one unit at a time."""

    model: str = "cross-encoder/ms-marco-MiniLM-L6-v2"
    use_title: bool = True
    max_length: int = 512
    batch_size: int = 64
    precision: Precision = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        check_batch_size("cross_encoder", self.batch_size)
        if self.max_length < 32:
            raise ValueError(f"cross_encoder wants a max_length of at least 32, got {self.max_length}")

    def prepare(self) -> None:
        _ = self._loaded

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        asked = encode_text(self._loaded.tokenizer, question)[0]
        rows = [self._row(asked, document.document.title, text) for document in documents for text in document.texts]
        pad = pad_id(self._loaded.tokenizer)
        said = run_batches(
            rows,
            batch_size_for(self.precision, self.batch_size),
            pad,
            self._probability,
        )
        return Labels.of_all_units(np.array(said, dtype=np.float32), documents)

    def _row(self, asked: list[int], title: str | None, text: str) -> Row:
        loaded = self._loaded
        read = f"{title}\n{text.strip()}" if title and self.use_title else text.strip()
        before, between, after = loaded.template.before, loaded.template.between, loaded.template.after
        room = loaded.window - loaded.template.size
        head = (*before, *asked[: room // 2], *between)
        own = encode_text(loaded.tokenizer, read)[0][: loaded.window - len(head) - len(after)]
        return Row((*head, *own, *after), len(head))

    def _probability(self, batch: Batch) -> torch.Tensor:
        loaded = self._loaded
        types = {"token_type_ids": batch.types.to(loaded.device)} if loaded.has_types else {}
        ids, mask = batch.ids.to(loaded.device), batch.mask.to(loaded.device)
        logits = loaded.model(input_ids=ids, attention_mask=mask, **types).logits.float()
        return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(-1)[:, 1]

    @cached_property
    def _loaded(self) -> Loaded:
        checkpoint = find_checkpoint(self.model)
        model = model_of(checkpoint, "SequenceClassification")
        config = model.config
        if config.num_labels not in (1, 2):
            raise ValueError(f"{checkpoint.folder}: want a classifier with 1 or 2 labels, got {config.num_labels}")
        tokenizer = tokenizer_of(checkpoint, config)
        placed = to_device(model, self.precision, self.device)
        return Loaded(
            model=placed,
            tokenizer=tokenizer,
            template=paired(tokenizer),
            window=max_tokens_of(config, self.max_length),
            device=next(placed.parameters()).device,
            has_types=getattr(config, "type_vocab_size", 0) > 1,
        )
