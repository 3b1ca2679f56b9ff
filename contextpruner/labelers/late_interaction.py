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
from collections.abc import Iterator, Sequence
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
from contextpruner.models.loading import Precision, batch_size_for, max_tokens_of, model_of, to_device, tokenizer_of
from contextpruner.models.packing import PackedRow, SpecialTokens, pack, text_only
from contextpruner.models.sentence_transformer_modules import projection_of
from contextpruner.models.windows import overlapping_windows
from contextpruner.units.split import SplitDocument
from contextpruner.units.terms import terms
from prunekernels.io.checkpoint import find_checkpoint
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
            cosines = [_means(self._pooled(asked, own, text, item), asked.weights, item) for own, text, item in found]
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
        cosines = [_means(_max_sim(own, text, item), asked.weights, item) for own, text, item in found]
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
        vectors, ends, at = [own[:0]], [], 0
        tokens_of = dict(_tokens_of_units(text, n_units))
        for unit in range(n_units):
            found = own[tokens_of[unit]] if unit in tokens_of else own[:0]
            if self.pool_factor > 1 and len(found):
                found = pool(torch.from_numpy(found), self.pool_factor).vectors.numpy()
            vectors.append(found)
            at += len(found)
            ends.append(at)
        return {"vectors": np.concatenate(vectors), "ends": np.array(ends, dtype=np.int64)}

    def label_encoded(
        self, questions: Sequence[str], documents: Sequence[SplitDocument], encoded: Sequence[Encoded]
    ) -> list[Labels]:
        found = (
            [_means(_best_tokens(one, own), one.weights, item) for own, item in zip(encoded, documents, strict=True)]
            for one in self._asked(questions)
        )
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

    def _pooled(self, asked: Question, own: np.ndarray, text: DocumentTokens, document: SplitDocument) -> np.ndarray:
        """As `_max_sim`, over the pooled vectors of each unit, out of `own` [tokens, d]."""
        found = np.zeros((len(document.units), len(asked.weights)), np.float32)
        vectors = torch.from_numpy(own)
        for unit, tokens in _tokens_of_units(text, len(document.units)):
            if len(asked.weights):
                pooled = pool(vectors[tokens], self.pool_factor).vectors
                found[unit] = (asked.vectors.cpu() @ pooled.T).amax(1).numpy()
        return found

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


def _max_sim(cosines: np.ndarray, text: DocumentTokens, document: SplitDocument) -> np.ndarray:
    """float32 [units, Q] out of [tokens, Q]: each question token's best cosine in a unit, 0 in one without tokens."""
    found = np.zeros((len(document.units), cosines.shape[1]), np.float32)
    if cosines.shape[1]:
        for unit, tokens in _tokens_of_units(text, len(document.units)):
            found[unit] = cosines[tokens].max(0)
    return found


def _means(best: np.ndarray, weights: np.ndarray, document: SplitDocument) -> np.ndarray:
    """float32 [units] out of `best` [units, Q], where a unit with tokens has what introduces it for `LENT`."""
    lent = best.copy()
    for unit, introducing in enumerate(document.introduced_by):
        if introducing and best[unit].any():
            lent[unit] = np.maximum(best[unit], LENT * best[list(introducing)].max(0))
    # row by row, so that equal units give equal bits wherever they stand
    return np.array([row @ weights for row in lent], dtype=np.float32)


def _best_tokens(asked: Question, document: Encoded) -> np.ndarray:
    """As `_max_sim`, out of the vectors of the units' tokens one after the other."""
    ends = document["ends"]
    found = np.zeros((len(ends), len(asked.weights)), np.float32)
    sizes = np.diff(ends, prepend=0)
    if len(asked.weights) and sizes.any():
        cosines = document["vectors"] @ asked.vectors.cpu().numpy().T
        having = np.flatnonzero(sizes)
        found[having] = np.maximum.reduceat(cosines, (ends - sizes)[having])
    return found


def _tokens_of_units(text: DocumentTokens, n_units: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each unit that has tokens, with them."""
    order = np.argsort(text.unit, kind="stable")
    edges = np.searchsorted(text.unit[order], np.arange(n_units + 1))
    for unit in range(n_units):
        if edges[unit] < edges[unit + 1]:
            yield unit, text.token[order[edges[unit] : edges[unit + 1]]]
