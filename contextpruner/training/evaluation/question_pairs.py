"""Questions asked in another form beside their plain ones: what politeness, a misspelling or keywords cost.

A question whose `form` has one of the words polite, misspelt or keywords, and whose id is that of another question and
a slash and that word, is paired with that one. It counts in pairs alone: elsewhere what is asked twice would count
twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from contextpruner.training.evaluation.bootstrap import interval, resampled_means
from contextpruner.training.evaluation.curves import Cut
from contextpruner.training.evaluation.judging import JudgedQuestion
from contextpruner.training.examples.example import TrainingExample
from contextpruner.training.examples.question_forms import keywords, misspelt, polite


class AskedForm(StrEnum):
    """How a question is asked again (`question_forms`)."""

    POLITE = "polite"
    MISSPELT = "misspelt"
    KEYWORDS = "keywords"


@dataclass(frozen=True)
class FormReport:
    """Mean recall of `n` pairs at one threshold, and the difference that the form makes with its 95 % interval."""

    labeler: str
    form: str
    n: int
    plain: float
    recall: float
    difference: float
    low: float
    high: float


def asked_as(form: AskedForm, examples: Sequence[TrainingExample]) -> Iterator[TrainingExample]:
    """`examples` asked in `form`, where that changes their questions; the same every time."""
    for example in examples:
        draw = random.Random(f"{form} {example.source} {example.id}")
        if form is AskedForm.POLITE:
            asked = polite(example.question, example.language, draw)
        else:
            asked = misspelt(example.question, draw) if form is AskedForm.MISSPELT else keywords(example.question)
        if asked != example.question:
            words = [word for word in example.form.split() if word not in ("plain", "seen")]
            yield replace(example, id=f"{example.id}/{form}", question=asked, form=" ".join([form.value, *words]))


def paired(judged: Sequence[JudgedQuestion]) -> dict[AskedForm, list[tuple[JudgedQuestion, JudgedQuestion]]]:
    """Pairs of a plain question and the same in another form, by form."""
    by_id = {(one.question.example.source, one.question.example.id): one for one in judged}
    found: dict[AskedForm, list[tuple[JudgedQuestion, JudgedQuestion]]] = {}
    for (source, name), one in by_id.items():
        for form in AskedForm:
            plain = by_id.get((source, name.removesuffix(f"/{form}")))
            if form in one.question.example.form.split() and plain is not None and plain is not one:
                found.setdefault(form, []).append((plain, one))
    return found


def form_report(
    labeler: str, form: str, pairs: Sequence[tuple[JudgedQuestion, JudgedQuestion]], cut: Cut
) -> FormReport | None:
    """The recall of both sides of `pairs` at `cut`; None where none of them has gold."""
    pairs = [pair for pair in pairs if pair[0].question.gold.any()]
    if not pairs:
        return None
    plain, asked = ([_recall(pair[side], cut) for pair in pairs] for side in (0, 1))
    differences = [two - one for one, two in zip(plain, asked, strict=True)]
    low, high = interval(resampled_means(differences, [pair[0].question.example.group for pair in pairs]))
    n = len(pairs)
    return FormReport(labeler, form, n, sum(plain) / n, sum(asked) / n, sum(differences) / n, low, high)


def _recall(one: JudgedQuestion, cut: Cut) -> float:
    return sum(share * float(kept[one.question.gold].mean()) for share, kept in cut.choices(one.probabilities))
