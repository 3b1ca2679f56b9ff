"""The pieces of a prompt, each kept or dropped as a whole: its tokens, as slices of the text.

A piece ends where a token ends; tokens that share a character, as bytes of one do, are one piece, and what a reader
takes for one character, with its marks, is never cut. Parts are cut by themselves, so that no piece is of two. Texts of
kept pieces, joined in their order, are the pruned prompt: verbatim slices, which the model then reads as its tokenizer
cuts them anew. So lengths are counted on the joined text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contextpruner.decisions.patterns import Pattern
from contextpruner.models.document_tokens import encode_text
from contextpruner.prompts.prompt import Prompt
from contextpruner.units.long_text import is_inside_character

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Pieces:
    """`texts` of n pieces in order; `part` int64 [n], -1 the instruction and i shot i; `is_protected` bool [n]."""

    texts: tuple[str, ...]
    part: np.ndarray
    is_protected: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def join(self, kept: np.ndarray) -> str:
        """The text of the pieces that are `kept`, bool [n]."""
        return "".join(text for text, stays in zip(self.texts, kept.tolist(), strict=True) if stays)

    @property
    def free(self) -> np.ndarray:
        """int64: the pieces that may be dropped, in order."""
        return np.flatnonzero(~self.is_protected)


def cut_prompt(prompt: Prompt, ends: Callable[[str], Sequence[int]], protect: Sequence[str] = ()) -> Pieces:
    """The pieces of the context of `prompt`; `ends` says where the pieces of a text end.

    Pieces in which one of the patterns `protect` is found are never dropped.
    """
    texts: list[str] = []
    part: list[int] = []
    for number, text in prompt.parts:
        stops = [*ends(text)]
        own = [text[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
        texts += own
        part += [number] * len(own)
    patterns = [Pattern(pattern) for pattern in protect]
    kept = [any(pattern.found(text) for pattern in patterns) for text in texts]
    return Pieces(tuple(texts), np.array(part, dtype=np.int64), np.array(kept, dtype=bool))


def token_ends(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Where the tokens of `text` end, in characters; the last is the end of the text."""
    offsets = encode_text(tokenizer, text)[1]
    stops = {int(stop) for stop in offsets[:, 1]} | {len(text)}
    return sorted(stop for stop in stops if stop > 0 and not is_inside_character(text, stop))
