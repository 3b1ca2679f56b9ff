"""The tokens of a document, and which of them count for which unit.

The document is tokenised as one text, so that every token has its characters and units stay verbatim slices. A
token counts for every unit in which it covers a visible character, or, where it covers none, for the unit it
begins in: tokenizers put the space between two sentences, or a stop and the letter behind it, into one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contextpruner.units.split import SplitDocument

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class DocumentTokens:
    """Token `token[i]` counts for unit `unit[i]` with `weight[i]`.

    `ids` are the document's tokens, `title` those of its title; `ends` says where each unit's tokens end, a token of
    two units with the earlier. `word[i]` numbers the word, of the tokenizer's
    own making, that token `token[i]` belongs to; it is empty where units were tokenised alone.
    """

    ids: list[int]
    title: list[int]
    ends: list[int]
    token: np.ndarray
    unit: np.ndarray
    weight: np.ndarray
    word: np.ndarray

    def unit_means(self, values: np.ndarray, n_units: int) -> np.ndarray:
        """The weighted mean of each unit's tokens, float32 [units]; a unit without tokens gets 0."""
        total = np.bincount(self.unit, self.weight * values[self.token], n_units)
        weight = np.bincount(self.unit, self.weight, n_units)
        return np.divide(total, weight, out=np.zeros(n_units), where=weight > 0).astype(np.float32)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], np.ndarray, list[int]]:
    """Ids, character offsets [T, 2] and word numbers of `text`; `tokenizer` is as `loading.tokenizer_of` made it."""
    coded = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    ids, unknown = coded.ids, tokenizer.unk_token_id
    if unknown is not None:
        # a vocabulary may hold the special tokens as pieces too
        special = {*tokenizer.all_special_ids} - {unknown}
        ids = [unknown if index in special else index for index in ids]
    words = [-1 if word is None else word for word in coded.word_ids]
    return ids, np.array(coded.offsets, dtype=np.int64).reshape(-1, 2), words


def tokenize_document(tokenizer: PreTrainedTokenizerBase, document: SplitDocument, use_title: bool) -> DocumentTokens:
    """The tokens of `document`; its title is a line of its own before the text."""
    title = document.document.title if use_title else None
    prefix = f"{title}\n" if title else ""
    texts = document.texts
    text = "".join([prefix, *texts])
    ids, offsets, words = encode_text(tokenizer, text)
    # characters of the title are of unit -1
    sizes = [len(prefix), *map(len, texts)]
    owner = np.repeat(np.arange(-1, len(document.units)), sizes)
    units = owner[_visible(text, offsets)] if text else np.zeros((0, 2), np.int64)
    # the last visible character decides, so that a token that reaches into the text is the text's
    is_text = units[:, 1] >= 0
    first = int(is_text.argmax()) if is_text.any() else len(ids)
    token, unit = _pairs(units[first:])
    ends = np.searchsorted(units[first:, 0], np.arange(len(document.units)), side="right").tolist()
    word = np.array(words[first:], dtype=np.int64)[token]
    return DocumentTokens(ids[first:], ids[:first], ends, token, unit, np.ones(len(token)), word)


def _visible(text: str, offsets: np.ndarray) -> np.ndarray:
    """The first and the last visible character of each token [T, 2], or twice its first where it has none."""
    place = np.arange(len(text))
    visible = np.array([not character.isspace() for character in text])
    following = np.minimum.accumulate(np.where(visible, place, len(text))[::-1])[::-1]
    previous = np.maximum.accumulate(np.where(visible, place, -1))
    start = offsets[:, 0].clip(0, len(text) - 1)
    end = offsets[:, 1].clip(start + 1, len(text))
    first, last = following[start], previous[end - 1]
    has_any = first < end
    return np.stack([np.where(has_any, first, start), np.where(has_any, last, start)], 1)


def _pairs(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every token and unit that go together, from the first and the last unit of each token [T, 2]."""
    first = np.maximum(units[:, 0], 0)
    counts = units[:, 1] - first + 1
    token = np.repeat(np.arange(len(units)), counts)
    # 0, 1, 2, ... within each token that counts for several units
    step = np.arange(len(token)) - np.repeat(np.cumsum(counts) - counts, counts)
    return token, first[token] + step
