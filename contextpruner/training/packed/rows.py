"""The rows of tokens that an example is learnt from, packed as they will be when the model labels.

Documents are cut into units by our own splitter, tokenised as one text each, and read in the windows of
`models.windows`, with question and title before them: what a model meets in training is what `labelers/provence` gives
it. Of a document in several windows all that hold gold are taken, up to `MOST_WINDOWS`, and one that holds none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from contextpruner.decisions.calibration import gold_units
from contextpruner.models.document_tokens import DocumentTokens, encode_text, tokenize_document
from contextpruner.models.packing import PackedRow, SpecialTokens, pack
from contextpruner.models.windows import Window, overlapping_windows
from contextpruner.training.examples.example import TrainingExample
from contextpruner.units.split import SplitDocument, split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OVERLAP = 64
MOST_WINDOWS = 4
# a unit that a row has no token of
NONE = -1


@dataclass(frozen=True)
class TrainingRow:
    """`ids` and, of each token, its unit's place among `gold` (-1: question, title, context, special tokens).

    `second` is the place from which tokens are of the second text. `gold` is bool [units of the row], `sizes` their
    characters; `document` is the place of the document in its example.
    """

    ids: np.ndarray
    unit: np.ndarray
    second: int
    gold: np.ndarray
    sizes: np.ndarray
    document: int


@dataclass(frozen=True)
class RowPacker:
    """Makes rows of examples for one tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    template: SpecialTokens
    max_length: int

    def rows(self, example: TrainingExample, draw: random.Random | None = None) -> Iterator[TrainingRow]:
        """The rows of `example`; without `draw` every window, as it is validated by."""
        asked = encode_text(self.tokenizer, example.question)[0]
        for place, (document, spans) in enumerate(zip(example.documents, example.gold, strict=True)):
            cut = SplitDocument(document, tuple(split(document.text)))
            gold = gold_units(cut, spans)
            tokens = tokenize_document(self.tokenizer, cut, use_title=True)
            windows = partial(_windows, cut, tokens)
            packed = pack(self.template, asked, tokens, self.max_length, windows)
            rows = [_row(one, tokens, gold, cut, place) for one in packed]
            yield from rows if draw is None else _chosen(rows, draw)


def _windows(cut: SplitDocument, tokens: DocumentTokens, room: int) -> list[Window]:
    return overlapping_windows(cut.units, tokens.ends, room, min(OVERLAP, room // 4))


def _row(packed: PackedRow, tokens: DocumentTokens, gold: np.ndarray, cut: SplitDocument, place: int) -> TrainingRow:
    start, end = packed.window.start, packed.window.end
    of_token = np.full(len(tokens.ids), NONE, np.int64)
    # a token of two units counts for the first of them
    of_token[tokens.token[::-1]] = tokens.unit[::-1]
    own = of_token[start:end]
    held, local = np.unique(own[own >= 0], return_inverse=True)
    unit = np.full(len(packed.row.ids), NONE, np.int16)
    inside = unit[packed.offset : packed.offset + end - start]
    inside[own >= 0] = local
    sizes = np.array([cut.units[number].end - cut.units[number].start for number in held.tolist()], np.int32)
    ids = np.array(packed.row.ids, np.int32)
    return TrainingRow(ids, unit, packed.row.second, gold[held], sizes, place)


def _chosen(rows: list[TrainingRow], draw: random.Random) -> list[TrainingRow]:
    with_gold = [row for row in rows if row.gold.any()]
    without = [row for row in rows if not row.gold.any() and len(row.gold)]
    chosen = draw.sample(with_gold, min(len(with_gold), MOST_WINDOWS))
    return chosen + draw.sample(without, min(len(without), 1))
