"""What is kept of questions with gold, by a labeler at its thresholds and by random deletion of equal length.

removed, removed_tokens   1 - mean over sources of the share of a source's characters, or tokens, that is kept
recall                    mean over questions of the share of a question's gold units that is kept
all_gold                  share of questions that keep all of their gold units
retained                  share of questions whose answer still stands verbatim in what is kept; where none is known, or
                          it is nowhere in the documents, every gold span has to
span_f2                   5 P R / (4 P + R) over the characters of all questions together: P of those that are kept the
                          part in gold spans, R of those in gold spans the part that is kept; recall counts twice
unit_f2                   the same over units, gold or not, as OpenProvence tells it over its sentences

A short answer in a long sentence bounds span_f2 far below 1, however well it is pruned; unit_f2 is not bounded by that.

Random deletion keeps a question's units in a random order until it has as many characters as the labeler keeps of that
question; the unit that would be too much is kept with the probability that makes the expected length equal. Numbers are
means over `DRAWS` orders, which hang on the question's id alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from contextpruner.training.evaluation.curves import Cut, size_weights
from contextpruner.training.evaluation.judging import JudgedQuestion
from contextpruner.training.evaluation.questions import Question

DRAWS = 16


@dataclass(frozen=True)
class Kept:
    """The numbers above; `retained` is None where no question has a text that should stand."""

    removed: float
    removed_tokens: float
    recall: float
    all_gold: float
    retained: float | None
    span_f2: float
    unit_f2: float


def kept_at(judged: Sequence[JudgedQuestion], cut: Cut) -> tuple[Kept, Kept]:
    """What the labeler keeps of `judged`, which all have gold, and what random deletion of equal length does."""
    own, by_chance = [], []
    for one in judged:
        choices = cut.choices(one.probabilities)
        shares, masks = np.array([share for share, _ in choices]), np.stack([mask for _, mask in choices])
        own.append(shares @ outcomes(one.question, masks))
        draw = draw_of(one.question)
        drawn = [random_units(one.question.sizes, int(size), DRAWS, draw) for size in masks @ one.question.sizes]
        by_chance.append(shares @ [outcomes(one.question, masks).mean(0) for masks in drawn])
    questions = [one.question for one in judged]
    return _kept(questions, np.stack(own)), _kept(questions, np.stack(by_chance))


def outcomes(question: Question, masks: np.ndarray) -> np.ndarray:
    """A row of numbers for each of `masks`, bool [d, n]: float64 [d, 8].

    Characters and tokens that are kept; the share of gold units, whether all of these, and the answer; characters in
    gold spans, units and gold units. NaN where a question has no answer that should stand.
    """
    columns = [question.sizes, question.tokens, question.gold_characters, np.ones(len(question.sizes)), question.gold]
    characters, tokens, in_gold, units, gold = (masks.astype(float) @ np.stack(columns, 1).astype(float)).T
    n_gold = question.gold.sum()
    stands = _stands(question, masks)
    return np.stack([characters, tokens, gold / n_gold, gold == n_gold, stands, in_gold, units, gold], 1)


def _stands(question: Question, masks: np.ndarray) -> np.ndarray:
    if not question.answers:
        return np.full(len(masks), np.nan)
    counts = np.concatenate([np.zeros((len(masks), 1), np.int64), np.cumsum(masks, 1)], 1)
    stands = [
        (counts[:, places[:, 1]] - counts[:, places[:, 0]] == places[:, 1] - places[:, 0]).any(1)
        for places in question.answers
    ]
    return np.all(stands, 0).astype(float)


def random_units(sizes: np.ndarray, size: int, n_draws: int, draw: np.random.Generator) -> np.ndarray:
    """Random units of `size` characters in the mean, bool [n_draws, n]."""
    order = draw.random((n_draws, len(sizes))).argsort(1)
    sorted_sizes = sizes[order]
    left = size - (sorted_sizes.cumsum(1) - sorted_sizes)
    # nothing of a unit without characters is too much
    fits = np.where(sorted_sizes > 0, left / np.maximum(sorted_sizes, 1), left > 0)
    kept = np.zeros(order.shape, bool)
    np.put_along_axis(kept, order, draw.random(order.shape) < fits, 1)
    return kept


def draw_of(question: Question) -> np.random.Generator:
    """Random numbers that hang on the question's source and id."""
    name = f"{question.example.source}\n{question.example.id}"
    return np.random.default_rng(int.from_bytes(blake2b(name.encode(), digest_size=8).digest()))


def _kept(questions: Sequence[Question], rows: np.ndarray) -> Kept:
    means = rows.mean(0)
    stands = rows[~np.isnan(rows[:, 4]), 4]
    characters, (in_gold, units, gold_units) = rows[:, 0].sum(), rows[:, 5:].sum(0)
    by_character, by_token = (
        size_weights([(one.example.source, int(getattr(one, name).sum())) for one in questions])
        for name in ("sizes", "tokens")
    )
    n_characters = sum(int(one.gold_characters.sum()) for one in questions)
    n_units = sum(int(one.gold.sum()) for one in questions)
    return Kept(
        removed=float(1 - rows[:, 0] @ by_character),
        removed_tokens=float(1 - rows[:, 1] @ by_token),
        recall=float(means[2]),
        all_gold=float(means[3]),
        retained=float(stands.mean()) if len(stands) else None,
        span_f2=_f2(in_gold, characters, n_characters),
        unit_f2=_f2(gold_units, units, n_units),
    )


def _f2(hit: float, kept: float, gold: int) -> float:
    """5 P R / (4 P + R) with P = hit / kept and R = hit / gold; 0 where nothing is kept."""
    return float(5 * hit / (4 * gold + kept))
