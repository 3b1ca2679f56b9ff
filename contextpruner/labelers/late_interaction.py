"""Late interaction: MaxSim of question tokens over a unit's (ColBERT, Khattab and Zaharia 2020, arXiv:2004.12832).

    probability(u) = max(0, mean over question tokens i of max over tokens j of u of cos(q[i], d[j]))

Higher = more of the question's tokens have a close one in the unit. A mean of cosines, not a probability of relevance;
its scale is the model's own. Token vectors are those of the whole document, read in windows that end where units do
and begin with its title, so that a unit's tokens know their surroundings. Special tokens and the title's own tokens
are left out of the maximum.

`model` is a folder or hub id of any AutoModel; a ColBERT projection (a tensor `linear.weight`, in the model's file or
in a sentence-transformers Dense folder) is applied. Question and document get no marker tokens. `pool_factor` above 1
pools each unit's vectors to that fraction before the maximum (`prunekernels.pool`), as a pooled index would have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from contextpruner import windows
from contextpruner.batches import Batch, Row, check_batch_size, of_rows, pad_id
from contextpruner.checkpoint import Checkpoint, find
from contextpruner.document import SplitDocument
from contextpruner.labeler import Labeler, Labels
from contextpruner.loading import Precision, longest_row, model_of, place, rows_at_once, tokenizer_of
from contextpruner.text_tokens import TextTokens, encode, tokenise
from contextpruner.token_windows import Packed, Template, alone, pack
from prunekernels.pool import pool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Loaded(NamedTuple):
    """A checkpoint, ready to run; `projection` is [d, hidden]."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    template: Template
    window: int
    device: torch.device
    projection: torch.Tensor | None


@dataclass(frozen=True)
class LateInteraction(Labeler):
    """Each question token's nearest token of the unit, as the mean cosine (ColBERT's MaxSim)."""

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    pool_factor: int = 1
    use_title: bool = True
    max_length: int = 512
    batch_size: int = 32
    precision: Precision = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        check_batch_size("late_interaction", self.batch_size)
        if self.pool_factor < 1:
            raise ValueError(f"late_interaction wants a pool_factor of at least 1, got {self.pool_factor}")
        if self.max_length < 32:
            raise ValueError(f"late_interaction wants a max_length of at least 32, got {self.max_length}")

    def prepare(self) -> None:
        _ = self._loaded

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        loaded = self._loaded
        texts = [tokenise(loaded.tokenizer, document, self.use_title) for document in documents]
        rows = [self._rows(document, text) for document, text in zip(documents, texts, strict=True)]
        ids = encode(loaded.tokenizer, question)[0][: loaded.window - loaded.template.size]
        template = loaded.template
        flat = [Row((*template.before, *ids, *template.after), 0)]
        flat += [packed.row for document in rows for packed in document]
        said = iter(
            of_rows(flat, rows_at_once(self.precision, self.batch_size), pad_id(loaded.tokenizer), self._vectors)
        )
        start = len(template.before)
        asked = torch.from_numpy(next(said)[start : start + len(ids)])
        vectors = [np.concatenate([packed.own(next(said)) for packed in document]) for document in rows]
        found = zip(texts, vectors, documents, strict=True)
        return Labels.best_unit(
            [self._max_sim(asked, text, torch.from_numpy(own), len(document.units)) for text, own, document in found]
        )

    def _rows(self, document: SplitDocument, text: TextTokens) -> list[Packed]:
        loaded = self._loaded
        return pack(
            loaded.template,
            (),
            text,
            loaded.window,
            lambda room: windows.cut(document.units, text.ends, room, carry=False),
        )

    def _max_sim(self, asked: torch.Tensor, text: TextTokens, vectors: torch.Tensor, n_units: int) -> np.ndarray:
        """float32 [units]; a unit without tokens, or a question without, gets 0."""
        found = np.zeros(n_units, np.float32)
        order = np.argsort(text.unit, kind="stable")
        edges = np.searchsorted(text.unit[order], np.arange(n_units + 1))
        for unit in range(n_units):
            own = vectors[text.token[order[edges[unit] : edges[unit + 1]]]]
            if len(own) and len(asked):
                if self.pool_factor > 1:
                    own = pool(own, self.pool_factor).vectors
                found[unit] = float((asked @ own.T).amax(1).mean())
        return found.clip(0, 1)

    def _vectors(self, batch: Batch) -> torch.Tensor:
        """Unit vectors [B, T, d]."""
        loaded = self._loaded
        ids, mask = batch.ids.to(loaded.device), batch.mask.to(loaded.device)
        hidden = loaded.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        if loaded.projection is not None:
            hidden = hidden @ loaded.projection.T
        return F.normalize(hidden, dim=-1)

    @cached_property
    def _loaded(self) -> Loaded:
        checkpoint = find(self.model)
        model = model_of(checkpoint, "")
        config = model.config
        tokenizer = tokenizer_of(checkpoint, config)
        placed = place(model, self.precision, self.device)
        device = next(placed.parameters()).device
        projection = _projection(checkpoint)
        if projection is not None:
            projection = projection.float().to(device)
        return Loaded(placed, tokenizer, alone(tokenizer), longest_row(config, self.max_length), device, projection)


def _projection(checkpoint: Checkpoint) -> torch.Tensor | None:
    """ColBERT's last layer, from the model's file or from the first Dense folder beside it."""
    if "linear.weight" in checkpoint.shapes:
        return checkpoint.tensors()["linear.weight"]
    folders = sorted(folder for folder in checkpoint.folder.glob("[0-9]_Dense") if folder.is_dir())
    return Checkpoint(folders[0]).tensors()["linear.weight"] if folders else None
