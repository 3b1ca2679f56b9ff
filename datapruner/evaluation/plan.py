"""The trainings that an evaluation asks for: every way at every budget, with what it keeps in each replicate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datapruner.evaluation.corpus_rows import Corpora
from datapruner.evaluation.kept_rows import Kept, amount, draw, keep
from datapruner.evaluation.proxy import LabelledTask, Task
from datapruner.evaluation.scoring_costs import Scored
from datapruner.evaluation.settings import ALL, RANDOM, Candidate, Evaluation, decides_itself
from datapruner.evaluation.trainings import Way
from datapruner.recipe.recipe import Rule
from datapruner.selection.select import as_selector


@dataclass(frozen=True, eq=False)
class Planned:
    """One way of training at one budget, `ways` a replicate each; `before` are the seconds that scores took.

    `beside` names the budget that it shares with the draws that it is held against.
    """

    way: str
    is_candidate: bool
    ratio: float | None
    beside: str
    ways: tuple[Way, ...]
    before: float = 0.0


def planned(evaluation: Evaluation, corpora: Corpora, scored: Sequence[Scored], task: Task) -> list[Planned]:
    """All of them, all rows first; the draws of a budget before the candidates that share it."""
    replicates = [evaluation.seeds.of(number) for number in range(evaluation.seeds.training)]
    whole = Kept(np.arange(len(corpora.train)), None, total(evaluation, corpora))
    found = [Planned(ALL, False, None, ALL, tuple(Way(whole) for _ in replicates))]
    ranked = [item for item in evaluation.candidates if not decides_itself(item.steps[-1])]
    for ratio in evaluation.keep_ratios if ranked else ():
        amounts = [amount(evaluation, total(evaluation, corpora), ratio)] * len(replicates)
        found += _draws(evaluation, corpora, task, (f"{ratio:g}", ratio, amounts))
        found += [_of_candidate(evaluation, item, ratio, scored, f"{ratio:g}") for item in ranked]
    for item in evaluation.candidates:
        if item not in ranked:
            own = _of_candidate(evaluation, item, None, scored, f"own {item.name}")
            found += _draws(evaluation, corpora, task, (own.beside, None, [way.kept.spent for way in own.ways]))
            found.append(own)
    return found


def total(evaluation: Evaluation, corpora: Corpora) -> int:
    """All rows, or all tokens."""
    return len(corpora.train) if evaluation.budget == "rows" else int(corpora.tokens.sum())


def left_out(evaluation: Evaluation, corpora: Corpora, task: Task) -> dict[str, str]:
    """Baselines that were asked for and cannot be had, and why."""
    found = {}
    if "stratified" in evaluation.baselines and corpora.strata is None:
        found["stratified"] = "the corpus has neither labels nor groups"
    if "distillation" in evaluation.baselines and not isinstance(task, LabelledTask):
        found["distillation"] = "the proxy has no classes"
    return found


def _of_candidate(
    evaluation: Evaluation, candidate: Candidate, ratio: float | None, scored: Sequence[Scored], beside: str
) -> Planned:
    ways, costs, made = [], [], {}
    for number in range(evaluation.seeds.training):
        scoring, selection, _ = evaluation.seeds.of(number)
        if (scoring, selection) not in made:
            made[scoring, selection] = keep(evaluation, candidate, ratio, scored[scoring].table, selection)
        costs.append(scored[scoring].cost({*_columns(candidate)}))
        ways.append(Way(made[scoring, selection]))
    return Planned(candidate.name, True, ratio, beside, tuple(ways), sum(costs) / len(costs))


def _draws(
    evaluation: Evaluation, corpora: Corpora, task: Task, budget: tuple[str, float | None, Sequence[int]]
) -> Iterator[Planned]:
    """The draws that spend the amounts of `budget`, which has a name, a ratio, and an amount for each replicate."""
    beside, ratio, amounts = budget
    seeds = [evaluation.seeds.of(number)[:2] for number in range(len(amounts))]
    shares = [amount / total(evaluation, corpora) for amount in amounts]
    pairs = list(zip(amounts, seeds, shares, strict=True))
    drawn = [draw(evaluation, corpora, amount, selection) for amount, (_, selection), _ in pairs]
    yield Planned(RANDOM, False, ratio, beside, tuple(map(Way, drawn)))
    wanted = [name for name in evaluation.baselines if name not in left_out(evaluation, corpora, task)]
    if "stratified" in wanted:
        kept = [draw(evaluation, corpora, amount, selection, corpora.strata) for amount, (_, selection), _ in pairs]
        yield Planned("stratified", False, ratio, beside, tuple(map(Way, kept)))
    if "rs2" in wanted:
        whole = np.arange(len(corpora.train))
        ways = [Way(Kept(whole, None, amount), "rs2", share, seed) for amount, (_, seed), share in pairs]
        yield Planned("rs2", False, ratio, beside, tuple(ways))
    if "distillation" in wanted:
        ways = [
            Way(kept, "distillation", share, scoring)
            for kept, (_, (scoring, _), share) in zip(drawn, pairs, strict=True)
        ]
        yield Planned("distillation", False, ratio, beside, tuple(ways))


def _columns(candidate: Candidate) -> Iterator[str]:
    """Names that may be columns: what steps go by, and what their selectors name."""
    for step in candidate.steps:
        yield from _by(step)
        rule = None if step.selector is None else as_selector(step.selector)
        yield from (value for value in vars(rule or step).values() if isinstance(value, str))
        if isinstance(step.per, str):
            yield step.per


def _by(step: Rule) -> list[str]:
    return [*step.by] if isinstance(step.by, Mapping) else [] if step.by is None else [step.by]
