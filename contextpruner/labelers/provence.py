"""Provence (Chirkova et al. 2025, arXiv:2501.16214), XProvence and OpenProvence: one encoder reads question and text.

    keep[t] = softmax(W h[t] + b)[1]                               for every token t of the text
    probability(u) = mean over the tokens of u of [keep[t] > T]    pooling "decision_mean" (Provence, XProvence)
    probability(u) = mean over the tokens of u of keep[t]          pooling "probability_mean" (OpenProvence)
    score = rank logit (Provence, XProvence), or its sigmoid (OpenProvence); the largest of the windows

Higher = more of the unit is needed for the question; decided by token, it is the share of tokens above T and not a
probability of relevance. The published rule keeps a unit if its number is above T, the same T in both places:
`threshold`, by default what config.json says or the family's own (Provence 0.1, XProvence 0.3, OpenProvence 0.1).
Thresholds do not carry over from one family to another.

A document longer than the model's window is read in windows that overlap by `overlap` tokens, with title, headings
and table headers carried along; a token in two windows counts with both (`windows`). `max_length` is the window: by
default the checkpoint's, else 512.

`model` is a folder or hub id in one of the three layouts (`joint_encoder`); its layout gives everything that says
"own" here. packing "joint" tokenises the document as one text; "published" tokenises every unit alone and changes
the question and the windows, as the published code of the layout does. `precision` "int8" is for CPUs, a row at a time,
and so is a folder that `contextpruner export` wrote (ONNX).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch

from contextpruner.labeler import Labeler, Labels, above
from contextpruner.labelers._published_packing import published_question, tokenize_units, windows_ending_at
from contextpruner.models.batches import batches, check_batch_size, distinct, pad_id
from contextpruner.models.document_tokens import DocumentTokens, encode_text, tokenize_document
from contextpruner.models.loading import Precision, batch_size_for
from contextpruner.models.packing import PackedRow, pack
from contextpruner.models.provence_checkpoint import ProvenceCheckpoint, load_provence
from contextpruner.models.windows import Window, merge_windows, overlapping_windows
from contextpruner.units.split import SplitDocument


@dataclass(frozen=True)
class Provence(Labeler):
    """Token decisions of a joint encoder, from Provence, XProvence and OpenProvence checkpoints."""

    ranks_documents: ClassVar[bool] = True

    model: str = "hotchpotch/open-provence-reranker-xsmall-v1"
    threshold: float | None = None
    pooling: Literal["own", "decision_mean", "probability_mean"] = "own"
    rank: Literal["own", "logit", "sigmoid"] = "own"
    packing: Literal["joint", "published"] = "joint"
    use_title: bool = True
    max_length: int | None = None
    overlap: int = 64
    batch_size: int = 32
    precision: Precision = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        check_batch_size("provence", self.batch_size)
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"provence wants a threshold in [0, 1], got {self.threshold}")
        if self.overlap < 0:
            raise ValueError(f"provence wants an overlap of at least 0, got {self.overlap}")
        if self.max_length is not None and self.max_length < 32:
            raise ValueError(f"provence wants a max_length of at least 32, got {self.max_length}")

    @property
    def default_threshold(self) -> float:
        return above(self.loaded.threshold)

    def prepare(self) -> None:
        _ = self.loaded

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        loaded = self.loaded
        asked = encode_text(loaded.tokenizer, self._question(question))[0]
        texts = [self._tokens(document) for document in documents]
        rows = [self._rows(asked, document, text) for document, text in zip(documents, texts, strict=True)]
        keep, rank = self._run([packed for document in rows for packed in document])
        is_decision = (loaded.family.pooling if self.pooling == "own" else self.pooling) == "decision_mean"
        probabilities, scores, done = [], [], 0
        for document, text, packed in zip(documents, texts, rows, strict=True):
            mine = slice(done, done + len(packed))
            done += len(packed)
            values = merge_windows([one.window for one in packed], keep[mine])
            if is_decision:
                values = (values > np.float32(loaded.threshold)).astype(np.float32)
            probabilities.append(text.unit_means(values, len(document.units)).clip(0, 1))
            scores.append(max(rank[mine]))
        return Labels(tuple(probabilities), np.array(scores, dtype=np.float32))

    def _question(self, question: str) -> str:
        return published_question(question, self.loaded.family.packing) if self.packing == "published" else question

    def _tokens(self, document: SplitDocument) -> DocumentTokens:
        loaded = self.loaded
        if self.packing == "joint":
            return tokenize_document(loaded.tokenizer, document, self.use_title)
        form = loaded.family.packing
        return tokenize_units(loaded.tokenizer, document, self.use_title, form, loaded.window // 2)

    def _rows(self, asked: list[int], document: SplitDocument, text: DocumentTokens) -> list[PackedRow]:
        def cut(room: int) -> list[Window]:
            if self.packing == "published":
                return windows_ending_at(text.ends, room)
            return overlapping_windows(document.units, text.ends, room, min(self.overlap, room // 4))

        return pack(self.loaded.template, asked, text, self.loaded.window, cut)

    @torch.inference_mode()
    def _run(self, rows: Sequence[PackedRow]) -> tuple[list[np.ndarray], list[float]]:
        """Keep-probabilities of each window's own tokens, and its ranking score."""
        loaded = self.loaded
        different, places = distinct([packed.row for packed in rows])
        keep: list[np.ndarray] = [np.zeros(0, np.float32)] * len(different)
        rank = torch.zeros(len(different))
        device = loaded.device
        for batch in batches(different, batch_size_for(self.precision, self.batch_size), pad_id(loaded.tokenizer)):
            types = (batch.types.to(device),) if loaded.has_types else ()
            kept, logits = loaded.model(batch.ids.to(device), batch.mask.to(device), *types)
            for row, values in zip(batch.rows, kept.cpu().numpy(), strict=True):
                keep[row] = values
            rank[batch.rows] = logits.cpu()
        if (loaded.family.rank if self.rank == "own" else self.rank) == "sigmoid":
            rank = rank.sigmoid()
        own = [packed.own(keep[place]) for place, packed in zip(places, rows, strict=True)]
        return own, rank[places].tolist()

    @cached_property
    def loaded(self) -> ProvenceCheckpoint:
        """The checkpoint and how it is run, read at first use."""
        return load_provence(self.model, self.precision, self.device, self.threshold, self.max_length)
