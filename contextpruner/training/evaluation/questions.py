"""Questions cut into units, as every labeler gets them: what there is to keep, and what of it is gold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from contextpruner.decisions.calibration import gold_units
from contextpruner.decisions.token_counter import TokenCounter, count_checked
from contextpruner.documents.document import read_documents
from contextpruner.training.examples.example import Spans, TrainingExample, merged
from contextpruner.units.split import SplitDocument, split_format


@dataclass(frozen=True, eq=False)
class Question:
    """An example and the n units of all its documents.

    `sizes` and `tokens`, int64 [n], are characters and tokens of a unit's text by itself; `gold`, bool [n], is what
    answers; `gold_characters`, int64 [n], the characters of gold spans in them; `has_gold`, bool [documents]. `answers`
    has for each text that should stand the places where it does, int64 [places, 2]: first unit and one behind the last.
    """

    example: TrainingExample
    documents: tuple[SplitDocument, ...]
    sizes: np.ndarray
    tokens: np.ndarray
    gold: np.ndarray
    gold_characters: np.ndarray
    has_gold: np.ndarray
    answers: tuple[np.ndarray, ...]

    @property
    def is_blind(self) -> bool:
        """Whether it was asked by somebody who did not see the documents."""
        return "blind" in self.example.form.split()


def cut_questions(examples: Iterable[TrainingExample], count_tokens: TokenCounter) -> list[Question]:
    """`examples` in units; raises ValueError naming the example whose gold lies outside its documents."""
    found = []
    for example in examples:
        try:
            found.append(_question(example, count_tokens))
        except ValueError as error:
            raise ValueError(f"question {example.id}: {error}") from error
    return found


def _question(example: TrainingExample, count_tokens: TokenCounter) -> Question:
    read = read_documents(example.documents)
    documents = tuple(SplitDocument(one, tuple(split_format(one.text, one.format))) for one in read)
    pairs = [*zip(documents, example.gold, strict=True)]
    gold = [gold_units(*pair) for pair in pairs]
    texts = [document.texts for document in documents]
    return Question(
        example=example,
        documents=documents,
        sizes=np.array([len(text) for own in texts for text in own], np.int64),
        tokens=np.array([count_checked(count_tokens, text) for own in texts for text in own], np.int64),
        gold=np.concatenate(gold),
        gold_characters=np.concatenate([_overlaps(*pair) for pair in pairs]),
        has_gold=np.array([own.any() for own in gold], bool),
        answers=_answers(example, texts),
    )


def _overlaps(document: SplitDocument, gold: Spans) -> np.ndarray:
    """The characters of each unit that lie in one of `gold`, int64 [units]."""
    gold = merged(gold)
    ends = [(unit.start, unit.end, unit.kind != "markup") for unit in document.units]
    shared = [is_seen * sum(max(min(end, b) - max(start, a), 0) for a, b in gold) for start, end, is_seen in ends]
    return np.array(shared, np.int64)


def _answers(example: TrainingExample, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
    """Where the answer stands; where none is known or it is nowhere, as yes and no are, where each gold span does."""
    if (answer := example.answer.strip()) and len(places := _places(answer, texts)):
        return (places,)
    spans = [document.text[a:b] for document, own in zip(example.documents, example.gold, strict=True) for a, b in own]
    found = [_places(text.strip(), texts) for text in dict.fromkeys(spans) if text.strip()]
    return tuple(places for places in found if len(places))


def _places(wanted: str, texts: Sequence[Sequence[str]]) -> np.ndarray:
    """The units, counted through all documents, from the one in which an occurrence of `wanted` begins."""
    found, before = [], 0
    for own in texts:
        whole, ends = "".join(own), np.cumsum([len(text) for text in own], dtype=np.int64)
        at = whole.find(wanted)
        while at >= 0:
            first, last = np.searchsorted(ends, [at, at + len(wanted) - 1], side="right")
            found.append((before + int(first), before + int(last) + 1))
            at = whole.find(wanted, at + len(wanted))
        before += len(own)
    return np.array(found, np.int64).reshape(-1, 2)
