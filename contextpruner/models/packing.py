"""Rows: question, title and a window of the document, packed with special tokens into what fits the model.

A row is `before` question `between` title context text `after`, with `SpecialTokens` around. Question and title
stand in every row, and before the window's own text what it hangs on (`windows`). The question takes at most
half of a row and the title a quarter; what is longer is read by its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from contextpruner.models.batches import Row
from contextpruner.models.document_tokens import DocumentTokens
from contextpruner.models.windows import Window

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens around a question and a text."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class PackedRow(NamedTuple):
    """The tokens of `window` itself stand in `row` from place `offset` on."""

    row: Row
    offset: int
    window: Window

    def own(self, values: np.ndarray) -> np.ndarray:
        """What belongs to the window's own tokens, out of `values` [row's tokens, ...]."""
        return values[self.offset : self.offset + self.window.end - self.window.start]


def single(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """[CLS] question [SEP] text [SEP], with one separator also where the tokenizer's own pairs have two."""
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    if cls is None or sep is None:
        raise ValueError(f"want a tokenizer with cls and sep tokens, got {cls} and {sep}")
    return SpecialTokens((cls,), (sep,), (sep,))


def paired(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """The tokenizer's own form of a pair of texts, read off a small one."""
    coded = tokenizer.backend_tokenizer.encode("a", "a", add_special_tokens=True)
    ids, sequence = coded.ids, coded.sequence_ids
    first, second = ([place for place, number in enumerate(sequence) if number == which] for which in (0, 1))
    if not first or not second:
        raise ValueError("want a tokenizer that encodes pairs, got one that loses them")
    return SpecialTokens(tuple(ids[: first[0]]), tuple(ids[first[-1] + 1 : second[0]]), tuple(ids[second[-1] + 1 :]))


def text_only(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """[CLS] text [SEP]: no question."""
    template = single(tokenizer)
    return SpecialTokens(template.before, (), template.after)


def pack(
    template: SpecialTokens,
    question: Sequence[int],
    tokens: DocumentTokens,
    longest: int,
    cut: Callable[[int], Sequence[Window]],
) -> list[PackedRow]:
    """One row of at most `longest` tokens for each of the windows that `cut` makes of the tokens left for the text."""
    room = longest - template.size
    if room < 16:
        raise ValueError(f"want a window of at least {template.size + 16} tokens, got {longest}")
    head = (*template.before, *question[: room // 2], *template.between)
    titled = (*head, *tokens.title[: room // 4])
    packed = []
    for window in cut(longest - len(titled) - len(template.after)):
        context = [token for start, end in window.context for token in tokens.ids[start:end]]
        ids = (*titled, *context, *tokens.ids[window.start : window.end], *template.after)
        packed.append(PackedRow(Row(ids, len(head)), len(titled) + len(context), window))
    return packed
