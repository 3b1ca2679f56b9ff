"""Each unit tokenised alone, as the published pruners do; for parity with their checkpoints.

provence        the question in lower case without ASCII punctuation; units without the space around them, and
                " " before all but the first (a title is the first)
open_provence   question and units as they are; a unit of more than half a window is cut into fragments of
                that length, and its number is the mean of its fragments' means
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from contextpruner.models.document_tokens import DocumentTokens, encode_text
from contextpruner.models.provence_checkpoint import Published
from contextpruner.models.windows import Window
from contextpruner.units.split import SplitDocument

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def published_question(question: str, form: Published) -> str:
    """The question as the published code reads it; a question of punctuation alone stays as it is."""
    if form == "open_provence":
        return question
    return " ".join(question.lower().translate(NO_PUNCTUATION).split()) or question


def tokenize_units(
    tokenizer: PreTrainedTokenizerBase, document: SplitDocument, use_title: bool, form: Published, longest: int
) -> DocumentTokens:
    """The tokens of `document`, unit by unit; `longest` is the length of a fragment."""
    title = (document.document.title or "") if use_title else ""
    texts = document.texts
    if form == "provence":
        texts = [" " * (index > 0 or bool(title)) + text.strip() for index, text in enumerate(texts)]
    coded = [encode_text(tokenizer, text) for text in texts]
    ids = [token for piece, _, _ in coded for token in piece]
    lengths = np.array([len(piece) for piece, _, _ in coded], dtype=np.int64)
    weight, ends = _fragments(lengths.tolist(), longest if form == "open_provence" else len(ids) + 1)
    unit = np.repeat(np.arange(len(texts)), lengths)
    return DocumentTokens(
        ids,
        encode_text(tokenizer, title)[0],
        ends,
        np.arange(len(ids)),
        unit,
        weight,
        # no rule of theirs asks for words
        np.zeros(0, dtype=np.int64),
    )


def _fragments(lengths: Sequence[int], longest: int) -> tuple[np.ndarray, list[int]]:
    """The weight of each token, 1 over its fragment's length, and where fragments end.

    A unit that is one fragment has equal weights, so that its weighted mean is its mean.
    """
    sizes = [min(longest, length - start) for length in lengths for start in range(0, length, longest)]
    return np.repeat([1 / size for size in sizes], sizes), np.cumsum(sizes, dtype=np.int64).tolist()


def windows_ending_at(ends: Sequence[int], room: int) -> list[Window]:
    """Windows of at most `room` tokens that end at one of `ends` where one is in reach."""
    found, start, reached = [], 0, 0
    for end in ends:
        while end - start > room:
            stop = reached if reached > start else start + room
            found.append(Window(start, stop))
            start = stop
        reached = end
    return [*found, Window(start, reached)] if reached > start or not found else found
