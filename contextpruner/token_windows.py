"""Rows: question, title and a window of the document, packed with special tokens into what fits the model.

A row is `before` question `between` title carried text `after`, with the special tokens of a `Template`. Question and
title stand in every row, and before the window's own text what it hangs on (`windows`). The question takes at most
half of a row and the title a quarter; what is longer is read by its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from contextpruner.batches import Row
from contextpruner.text_tokens import TextTokens
from contextpruner.windows import Window

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Template:
    """The special tokens around a question and a text."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class Packed(NamedTuple):
    """The tokens of `window` itself stand in `row` from place `offset` on."""

    row: Row
    offset: int
    window: Window

    def own(self, values: np.ndarray) -> np.ndarray:
        """What belongs to the window's own tokens, out of `values` [row's tokens, ...]."""
        return values[self.offset : self.offset + self.window.end - self.window.start]


def single(tokenizer: PreTrainedTokenizerBase) -> Template:
    """[CLS] question [SEP] text [SEP], with one separator also where the tokenizer's own pairs have two."""
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    if cls is None or sep is None:
        raise ValueError(f"want a tokenizer with cls and sep tokens, got {cls} and {sep}")
    return Template((cls,), (sep,), (sep,))


def paired(tokenizer: PreTrainedTokenizerBase) -> Template:
    """The tokenizer's own form of a pair of texts, read off a small one."""
    coded = tokenizer.backend_tokenizer.encode("a", "a", add_special_tokens=True)
    ids, sequence = coded.ids, coded.sequence_ids
    first, second = ([place for place, number in enumerate(sequence) if number == which] for which in (0, 1))
    if not first or not second:
        raise ValueError("want a tokenizer that encodes pairs, got one that loses them")
    return Template(tuple(ids[: first[0]]), tuple(ids[first[-1] + 1 : second[0]]), tuple(ids[second[-1] + 1 :]))


def alone(tokenizer: PreTrainedTokenizerBase) -> Template:
    """[CLS] text [SEP]: no question."""
    template = single(tokenizer)
    return Template(template.before, (), template.after)


def pack(
    template: Template,
    question: Sequence[int],
    tokens: TextTokens,
    longest: int,
    cut: Callable[[int], Sequence[Window]],
) -> list[Packed]:
    """One row of at most `longest` tokens for each of the windows that `cut` makes of the tokens left for the text."""
    room = longest - template.size
    if room < 16:
        raise ValueError(f"want a window of at least {template.size + 16} tokens, got {longest}")
    head = (*template.before, *question[: room // 2], *template.between)
    titled = (*head, *tokens.title[: room // 4])
    packed = []
    for window in cut(longest - len(titled) - len(template.after)):
        carried = [token for start, end in window.carried for token in tokens.ids[start:end]]
        ids = (*titled, *carried, *tokens.ids[window.start : window.end], *template.after)
        packed.append(Packed(Row(ids, len(head)), len(titled) + len(carried), window))
    return packed
