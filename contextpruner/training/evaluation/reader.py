"""A reader in the loop: how likely the answer is to a causal language model that reads what was kept.

    log-likelihood = mean over the answer's tokens of ln p(token | prompt, the tokens before), nats a token
    prompt = context, a line break, "Question: " question, a line break, "Answer:"; then a space and the answer

A plain prompt and no chat template: base models are read with it too, and all contexts with the same words. The context
is the documents, each with its title in a line before it and an empty line between two; documents of which nothing is
kept are left out, and without context the prompt begins with its question. Contexts are

    full      the documents as they are
    pruned    what the labeler keeps under the threshold for all questions
    random    random deletion with as many characters of each question, one draw
    none      no context

The answer is the example's, or its gold spans where none is known, up to `LONGEST` tokens. Differences are those of the
same question under two contexts; their intervals are resampled by documents (`bootstrap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from contextpruner.models.batches import Row
from contextpruner.models.causal_lm import CausalLM
from contextpruner.models.document_tokens import encode_text
from contextpruner.training.evaluation.bootstrap import interval, resampled_means
from contextpruner.training.evaluation.curves import Cut
from contextpruner.training.evaluation.judging import JudgedQuestion
from contextpruner.training.evaluation.kept import draw_of, random_units
from contextpruner.training.evaluation.questions import Question
from contextpruner.units.join import join_kept

LONGEST, BATCH = 64, 8


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ReaderReport:
    """Mean log-likelihoods of `n` answers; `n_too_long` more questions are longer than the reader's window."""

    labeler: str
    questions: str
    n: int
    n_too_long: int
    full: float
    pruned: float
    random: float
    none: float
    pruned_to_full: Difference
    pruned_to_random: Difference


def read_by(
    model: CausalLM, judged: Mapping[str, Sequence[JudgedQuestion]], cuts: Mapping[str, Cut], most: int
) -> list[ReaderReport]:
    """Reports of each labeler in `judged`, of which all have the same questions, on up to `most` with gold.

    Each source has one, and all of them together where there are several.
    """
    questions = [one.question for one in next(iter(judged.values()))]
    chosen = _chosen(questions, most)
    rows: list[tuple[Row, int]] = []
    read, n_too_long = [], dict.fromkeys({questions[place].example.source for place in chosen}, 0)
    for place in chosen:
        contexts = [_context(questions[place], np.ones(len(questions[place].sizes), bool)), ""]
        for name, own in judged.items():
            contexts += _pruned_and_random(own[place], cuts[name])
        own_rows = [_row(model, questions[place], context) for context in contexts]
        if max(len(row.ids) for row, _ in own_rows) > model.window:
            n_too_long[questions[place].example.source] += 1
            continue
        read.append(questions[place])
        rows += own_rows
    if not read:
        raise ValueError(
            f"want a reader of a window of more than {model.window} tokens: {len(chosen)} questions are longer"
        )
    found = -np.array(model.mean_nll(rows, BATCH)).reshape(len(read), -1)
    return _reports([*judged], read, found, n_too_long)


def _chosen(questions: Sequence[Question], most: int) -> list[int]:
    """Places of up to `most` questions with gold, drawn by a hash of their names."""
    with_gold = [place for place, one in enumerate(questions) if one.gold.any()]
    return sorted(with_gold, key=lambda place: _hash(questions[place]))[:most]


def _hash(question: Question) -> bytes:
    return blake2b(f"{question.example.source}\n{question.example.id}".encode()).digest()


def _pruned_and_random(one: JudgedQuestion, cut: Cut) -> list[str]:
    """What is kept of a question: at one of the cut's thresholds, drawn; and of equal length by chance."""
    draw = draw_of(one.question)
    choices = cut.choices(one.probabilities)
    kept = choices[int(draw.choice(len(choices), p=[share for share, _ in choices]))][1]
    by_chance = random_units(one.question.sizes, int(one.question.sizes[kept].sum()), 1, draw)[0]
    return [_context(one.question, kept), _context(one.question, by_chance)]


def _context(question: Question, kept: np.ndarray) -> str:
    parts, at = [], 0
    for document in question.documents:
        own = kept[at : at + len(document.units)]
        at += len(document.units)
        text = join_kept(document.texts, own.tolist()).strip()
        title = document.document.title
        parts += [f"{title}\n{text}" if title else text] if text else []
    return "\n\n".join(parts)


def _row(model: CausalLM, question: Question, context: str) -> tuple[Row, int]:
    example = question.example
    pairs = zip(example.documents, example.gold, strict=True)
    spans = [document.text[start:end].strip() for document, own in pairs for start, end in own]
    answer = encode_text(model.tokenizer, f" {example.answer.strip() or ' '.join(spans)}")[0][:LONGEST]
    before = f"{context}\n" if context else ""
    prompt = encode_text(model.tokenizer, f"{before}Question: {example.question}\nAnswer:")[0]
    return Row((*model.first, *prompt, *answer), 0), len(answer)


def _reports(
    labelers: Sequence[str], questions: Sequence[Question], found: np.ndarray, n_too_long: Mapping[str, int]
) -> list[ReaderReport]:
    """From log-likelihoods [questions, 2 + 2 labelers]: full, none, and pruned and random of each labeler."""
    sources = np.array([one.example.source for one in questions])
    sets = {name: sources == name for name in sorted({*sources.tolist()})}
    if len(sets) > 1:
        sets = {"all": np.ones(len(questions), bool), **sets}
    reports = []
    for name, where in sets.items():
        groups = [one.example.group for one, is_in in zip(questions, where, strict=True) if is_in]
        for number, labeler in enumerate(labelers):
            full, none, pruned, by_chance = found[where][:, [0, 1, 2 + 2 * number, 3 + 2 * number]].T
            reports.append(
                ReaderReport(
                    labeler=labeler,
                    questions=name,
                    n=len(full),
                    n_too_long=sum(n_too_long.values()) if name == "all" else n_too_long[name],
                    full=float(full.mean()),
                    pruned=float(pruned.mean()),
                    random=float(by_chance.mean()),
                    none=float(none.mean()),
                    pruned_to_full=_difference(pruned - full, groups),
                    pruned_to_random=_difference(pruned - by_chance, groups),
                )
            )
    return reports


def _difference(values: np.ndarray, groups: Sequence[str]) -> Difference:
    return Difference(float(values.mean()), *interval(resampled_means(values.tolist(), groups)))
