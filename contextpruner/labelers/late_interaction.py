"""Late interaction: MaxSim of question tokens over a unit's (ColBERT, Khattab and Zaharia 2020, arXiv:2004.12832).

    cos(u) = weighted mean over question tokens i of max over tokens j of u of cos(q[i], d[j])

Higher = more of the question's tokens have a close one in the unit. Tokens of stop words ("who", "the", "please")
weigh `STOP_WORD`; in place of a unit's own nearest token counts that of its headings, its header or its lead-in, at
`LENT` of its cosine, where it is nearer. The means are brought onto a scale that is the same for every question
(`_comparable_cosines`); they are not a probability of relevance. A unit's number depends on its company, though not on
its order; `unrelated` is the best mean at which it is undecided whether anything answers, and the model's own. Token
vectors are those of the whole document, read in windows that end where units do and begin with its title, so that a
unit's tokens know their surroundings. Special tokens and the title's own tokens are left out of the maximum.

`model` is a folder or hub id of any AutoModel; a ColBERT projection (a tensor `linear.weight` in the model's file, or
the linear Dense modules of a modules.json, in order) is applied. Question and document get no marker tokens, and no
token of either is left out for being punctuation. `pool_factor` above 1 pools each unit's vectors to that fraction
before the maximum (`prunekernels.pool`), as a pooled index would have them. Of a document only the cosines with the
question are held, where nothing is pooled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from contextpruner.documents.cache import Encoded
from contextpruner.labeler import Labeler, Labels
from contextpruner.labelers._comparable_cosines import check_unrelated, comparable
from contextpruner.labelers._stop_words import question_terms
from contextpruner.models.batches import Batch, Row, check_batch_size, pad_id, run_batches
from contextpruner.models.document_tokens import DocumentTokens, encode_text, tokenize_document
from contextpruner.models.late_interaction.arrays import tensor_of
from contextpruner.models.loading import Precision, batch_size_for, max_tokens_of, model_of, to_device, tokenizer_of
from contextpruner.models.packing import PackedRow, SpecialTokens, pack, text_only
from contextpruner.models.sentence_transformer_modules import projection_of
from contextpruner.models.windows import overlapping_windows
from contextpruner.units.split import SplitDocument
from contextpruner.units.terms import terms
from prunekernels.centroid_interaction import centroid_interaction
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.max_sim import max_sim
from prunekernels.pool import pool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# what a token of a stop word weighs beside the others
STOP_WORD = 0.5
# and a token of the headings, the header, the lead-in of a unit beside its own
LENT = 0.75
WORD = re.compile(r"\w+")


class Question(NamedTuple):
    """The vectors of a question's own tokens [Q, d], and their weights [Q], which sum to 1."""

    vectors: torch.Tensor
    weights: np.ndarray


class Loaded(NamedTuple):
    """A checkpoint, ready to run."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    template: SpecialTokens
    window: int
    device: torch.device
    projection: tuple[torch.nn.Linear, ...]


@dataclass(frozen=True)
class LateInteraction(Labeler):
    """Each question token's nearest token of the unit, as the mean cosine (ColBERT's MaxSim)."""

    depends_on_batch: ClassVar[bool] = True

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    pool_factor: int = 1
    use_title: bool = True
    max_length: int = 512
    batch_size: int = 32
    precision: Precision = "float32"
    device: str | None = None
    unrelated: float = 0.2

    def __post_init__(self) -> None:
        check_batch_size("late_interaction", self.batch_size)
        check_unrelated("late_interaction", self.unrelated)
        if self.pool_factor < 1:
            raise ValueError(f"late_interaction wants a pool_factor of at least 1, got {self.pool_factor}")
        if self.max_length < 32:
            raise ValueError(f"late_interaction wants a max_length of at least 32, got {self.max_length}")

    def prepare(self) -> None:
        _ = self._loaded

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        loaded = self._loaded
        texts = [tokenize_document(loaded.tokenizer, document, self.use_title) for document in documents]
        rows = [self._rows(document, text) for document, text in zip(documents, texts, strict=True)]
        asked = self._asked([question])[0]
        at_once = batch_size_for(self.precision, self.batch_size)
        pad = pad_id(loaded.tokenizer)
        if self.pool_factor > 1:
            # vectors take far more room than cosines: one document at a time
            vectors = (_own(run_batches([one.row for one in row], at_once, pad, self._vectors), row) for row in rows)
            found = zip(vectors, texts, documents, strict=True)
            cosines = [
                _of_vectors([asked], self._of_units(own, text, len(item.units)), item)[0] for own, text, item in found
            ]
            return Labels.best_unit(comparable(cosines, documents, self.unrelated))
        said = iter(
            run_batches(
                [packed.row for row in rows for packed in row],
                at_once,
                pad,
                lambda batch: self._vectors(batch) @ asked.vectors.T,
            )
        )
        of_tokens = (_own([next(said) for _ in row], row) for row in rows)
        found = zip(of_tokens, texts, documents, strict=True)
        cosines = [_of_cosines(own, asked.weights, text, item) for own, text, item in found]
        return Labels.best_unit(comparable(cosines, documents, self.unrelated))

    def encode(self, documents: Sequence[SplitDocument]) -> list[Encoded]:
        loaded = self._loaded
        texts = [tokenize_document(loaded.tokenizer, document, self.use_title) for document in documents]
        rows = [self._rows(document, text) for document, text in zip(documents, texts, strict=True)]
        at_once = batch_size_for(self.precision, self.batch_size)
        packed = [one.row for row in rows for one in row]
        said = iter(run_batches(packed, at_once, pad_id(loaded.tokenizer), self._vectors))
        owned = [_own([next(said) for _ in row], row) for row in rows]
        return [
            self._of_units(own, text, len(document.units))
            for own, text, document in zip(owned, texts, documents, strict=True)
        ]

    def _of_units(self, own: np.ndarray, text: DocumentTokens, n_units: int) -> Encoded:
        """The vectors of each unit's tokens, pooled where they are pooled, unit after unit; and where each ends."""
        tokens, sizes = _tokens_of_units(text, n_units)
        vectors = own[tokens]
        if self.pool_factor > 1:
            parts = torch.from_numpy(vectors).split(sizes.tolist())
            pooled = [pool(part, self.pool_factor).vectors.numpy() if len(part) else part.numpy() for part in parts]
            vectors = np.concatenate([own[:0], *pooled])
            sizes = np.array([len(part) for part in pooled], dtype=np.int64)
        return {"vectors": vectors, "ends": sizes.cumsum()}

    def label_encoded(
        self, questions: Sequence[str], documents: Sequence[SplitDocument], encoded: Sequence[Encoded]
    ) -> list[Labels]:
        asked = self._asked(questions)
        of_documents = [_of_vectors(asked, one, item) for one, item in zip(encoded, documents, strict=True)]
        found = ([one[number] for one in of_documents] for number in range(len(asked)))
        return [Labels.best_unit(comparable(cosines, documents, self.unrelated)) for cosines in found]

    def _asked(self, questions: Sequence[str]) -> list[Question]:
        loaded = self._loaded
        template = loaded.template
        room = loaded.window - template.size
        coded = [encode_text(loaded.tokenizer, question) for question in questions]
        found = [ids[:room] for ids, _, _ in coded]
        weights = [
            _weights(question, offsets[:room]) for question, (_, offsets, _) in zip(questions, coded, strict=True)
        ]
        rows = [Row((*template.before, *ids, *template.after), 0) for ids in found]
        at_once = batch_size_for(self.precision, self.batch_size)
        said = run_batches(rows, at_once, pad_id(loaded.tokenizer), self._vectors)
        start = len(template.before)
        own = [vectors[start : start + len(ids)] for vectors, ids in zip(said, found, strict=True)]
        placed = [torch.from_numpy(vectors).to(loaded.device) for vectors in own]
        return [Question(*pair) for pair in zip(placed, weights, strict=True)]

    def _rows(self, document: SplitDocument, text: DocumentTokens) -> list[PackedRow]:
        loaded = self._loaded
        return pack(
            loaded.template,
            (),
            text,
            loaded.window,
            lambda room: overlapping_windows(document.units, text.ends, room, with_context=False),
        )

    def _vectors(self, batch: Batch) -> torch.Tensor:
        """Unit vectors [B, T, d]."""
        loaded = self._loaded
        ids, mask = batch.ids.to(loaded.device), batch.mask.to(loaded.device)
        hidden = loaded.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        for layer in loaded.projection:
            hidden = layer(hidden)
        return F.normalize(hidden, dim=-1)

    @cached_property
    def _loaded(self) -> Loaded:
        checkpoint = find_checkpoint(self.model)
        model = model_of(checkpoint, "")
        config = model.config
        tokenizer = tokenizer_of(checkpoint, config)
        placed = to_device(model, self.precision, self.device)
        device = next(placed.parameters()).device
        projection = tuple(layer.to(device) for layer in projection_of(checkpoint, config.hidden_size))
        return Loaded(
            placed, tokenizer, text_only(tokenizer), max_tokens_of(config, self.max_length), device, projection
        )


def _own(said: Sequence[np.ndarray], rows: Sequence[PackedRow]) -> np.ndarray:
    """What is said of a document's own tokens [tokens, ...], out of what is said of its rows."""
    return np.concatenate([packed.own(values) for packed, values in zip(rows, said, strict=True)])


def _weights(question: str, offsets: np.ndarray) -> np.ndarray:
    """The weights of the tokens at `offsets` [Q, 2], float32 [Q]; those of stop words are lower."""
    wanted = {*question_terms(question)}
    # of each character whether it is one of a word that is wanted
    is_wanted = np.zeros(len(question) + 1, dtype=bool)
    for word in WORD.finditer(question):
        is_wanted[word.start() : word.end()] = not wanted.isdisjoint(terms(word.group()))
    weights = np.where(is_wanted[offsets[:, 0].clip(0, len(question))], 1, STOP_WORD)
    return (weights / max(weights.sum(), 1)).astype(np.float32)


def _of_cosines(cosines: np.ndarray, weights: np.ndarray, text: DocumentTokens, document: SplitDocument) -> np.ndarray:
    """float32 [units] out of [tokens, Q]; a unit without tokens, or a question without, gets 0."""
    tokens, own = _tokens_of_units(text, len(document.units))
    places, is_lent, sizes = _with_lent(own, document)
    # every token is a centroid of its own, and one that is lent another
    table = torch.from_numpy(np.concatenate([cosines, LENT * cosines]).astype(np.float32))
    codes = torch.from_numpy(tokens[places] + is_lent * len(cosines))
    found = centroid_interaction(table, codes, torch.from_numpy(sizes), torch.from_numpy(weights))
    return found.masked_fill(torch.from_numpy(sizes == 0), 0).numpy()


def _of_vectors(asked: Sequence[Question], encoded: Encoded, document: SplitDocument) -> np.ndarray:
    """The same for several questions, float32 [questions, units], out of vectors of tokens."""
    places, is_lent, sizes = _with_lent(np.diff(encoded["ends"], prepend=0), document)
    vectors = tensor_of(encoded["vectors"])
    if is_lent.any():
        scales = torch.from_numpy(np.where(is_lent, LENT, 1).astype(np.float32))
        vectors = vectors[torch.from_numpy(places)] * scales[:, None]
    found = max_sim(
        torch.cat([question.vectors for question in asked]).cpu(),
        vectors,
        torch.from_numpy(sizes),
        [len(question.weights) for question in asked],
        torch.from_numpy(np.concatenate([question.weights for question in asked])),
    )
    return found.masked_fill(torch.from_numpy(sizes == 0), 0).numpy()


def _with_lent(sizes: np.ndarray, document: SplitDocument) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of the tokens of each unit that has any, `sizes` [units], and of what introduces it.

    Places int64, unit after unit; which of them are lent, bool; how many each unit has then, int64 [units].
    """
    ends = np.cumsum(sizes)
    places: list[np.ndarray] = [ends[:0]]
    n_lent = np.zeros_like(sizes)
    is_lent: list[np.ndarray] = [np.zeros(0, dtype=bool)]
    for unit, introducing in enumerate(document.introduced_by):
        lenders = introducing if sizes[unit] else ()
        for one in (unit, *lenders):
            places.append(np.arange(ends[one] - sizes[one], ends[one]))
            is_lent.append(np.full(sizes[one], one != unit))
        n_lent[unit] = sum(sizes[one] for one in lenders)
    return np.concatenate(places), np.concatenate(is_lent), sizes + n_lent


def _tokens_of_units(text: DocumentTokens, n_units: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of the units, one unit after the other, and how many each has; both int64."""
    order = np.argsort(text.unit, kind="stable")
    edges = np.searchsorted(text.unit[order], np.arange(n_units + 1))
    return text.token[order[edges[0] : edges[-1]]], np.diff(edges)
