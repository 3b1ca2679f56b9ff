"""What is compared: a corpus, a held-out corpus, a proxy, scorers, selections and what they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from datapruner.corpus.source import Source
from datapruner.evaluation.proxy import PROXIES, Proxy
from datapruner.recipe.recipe import Rule
from datapruner.scoring.scorer import Scorer
from datapruner.scoring.scorer_columns import scorers_by_column
from datapruner.selection.select import as_selector
from prunekernels import spec
from prunekernels.budget import check_keep_ratio
from prunekernels.io.escape import one_line

ALL, RANDOM = "all", "random"
# what the selections are held against, beside all rows and rows drawn at random, which always are
BASELINES = ("stratified", "rs2", "distillation")


@dataclass(frozen=True)
class Candidate:
    """One way of selecting: steps in the words of a recipe, whose last keeps each of the budgets.

    A last step that decides itself how much it keeps, as threshold does, is compared at that. `weighted`: weights that
    the selector gives rows count in the loss.
    """

    name: str
    steps: tuple[Rule, ...]
    weighted: bool = True


@dataclass(frozen=True)
class Seeds:
    """How many trainings of each kind, with the seeds 0, 1, ...; and of `scoring` and `selection` 1 or as many.

    With 1 the intervals hold for these scores, or these draws; with as many each pair has its own.
    """

    training: int = 5
    selection: int | None = None
    scoring: int = 1

    def __post_init__(self) -> None:
        if self.training < 2:
            raise ValueError(f"want at least 2 trainings, or nothing can be said of chance, got {self.training}")
        for name in ("selection", "scoring"):
            if getattr(self, name) not in (None, 1, self.training):
                raise ValueError(
                    f"want {name} seeds of 1 or {self.training}, one for each training, got {getattr(self, name)}"
                )

    def with_training(self, training: int) -> Seeds:
        """So many trainings; seeds of scoring and selection that came with each still do."""
        others = [value if value in (None, 1) else training for value in (self.selection, self.scoring)]
        return Seeds(training, others[0], others[1] or 1)

    def of(self, replicate: int) -> tuple[int, int, int]:
        """The seeds of scoring, selection and training of replicate number `replicate`."""
        return (replicate if self.scoring > 1 else 0, 0 if self.selection == 1 else replicate, replicate)


@dataclass(frozen=True)
class Observe:
    """Trainings of the proxy on all rows that scorers read: `epochs` of the one that is recorded, and `runs` of `early`
    epochs each, whose logits are kept."""

    epochs: int = 10
    early: int = 2
    runs: int = 5

    def __post_init__(self) -> None:
        if min(self.epochs, self.early, self.runs) < 1:
            raise ValueError(
                f"want epochs, early and runs of at least 1, got {self.epochs}, {self.early} and {self.runs}"
            )


@dataclass(frozen=True)
class Evaluation:
    """An evaluation: each candidate at each of `keep_ratios`, against all rows and draws, at equal optimizer `steps`.

    `test` holds rows that are not in `source`. `budget`: what the ratios are of, "rows" or "tokens". `checks`: how
    often a training is judged on the way, at most once a step. `margin`: a difference in quality that is next to
    nothing, None is the proxy's own. Scorers with a field `seed` get the seed of scoring where there are several; those
    that read a record or an ensemble, and name none, get it from trainings of the proxy (`observe`).
    """

    source: Source
    test: Source
    proxy: str | Proxy
    candidates: tuple[Candidate, ...]
    scorers: tuple[str | Scorer, ...] = ()
    keep_ratios: tuple[float, ...] = (0.1, 0.3, 0.6)
    budget: str = "rows"
    baselines: tuple[str, ...] = BASELINES
    steps: int = 1000
    checks: int = 10
    margin: float | None = None
    seeds: Seeds = field(default_factory=Seeds)
    observe: Observe = field(default_factory=Observe)

    def __post_init__(self) -> None:
        for ratio in self.keep_ratios:
            check_keep_ratio(ratio)
        if len(set(self.keep_ratios)) < len(self.keep_ratios):
            raise ValueError(f"want keep_ratios, each once, got {', '.join(map(str, self.keep_ratios))}")
        names = [candidate.name for candidate in self.candidates]
        taken = {name for name in names if names.count(name) > 1 or name in (ALL, RANDOM, *BASELINES)}
        if not names or taken:
            raise ValueError(f"want candidates, each with a name of its own, got {', '.join(names) or 'none'}")
        if self.budget not in ("rows", "tokens"):
            raise ValueError(f"want a budget in rows or tokens, got {self.budget!r:.80}")
        if unknown := [name for name in self.baselines if name not in BASELINES]:
            raise ValueError(f"want baselines among {', '.join(BASELINES)}, got {unknown[0]!r:.80}")
        if self.steps < 1 or self.checks < 1:
            raise ValueError(f"want steps and checks of at least 1, got {self.steps} and {self.checks}")
        if self.margin is not None and not self.margin >= 0:
            raise ValueError(f"want a margin of at least 0, got {self.margin}")
        self.check_candidates()

    @property
    def built_proxy(self) -> Proxy:
        """The proxy itself; raises ValueError where its text form is none."""
        made = spec.build(PROXIES, self.proxy, Proxy) if isinstance(self.proxy, str) else self.proxy
        made.check()
        return made

    def check_candidates(self) -> None:
        """Raise where a selector or scorer is none, or a step keeps a count of its own before anything is read."""
        scorers_by_column(self.scorers)
        for candidate in self.candidates:
            if not candidate.steps:
                raise ValueError(f"{candidate.name}: want at least one step of selecting, got none")
            last = candidate.steps[-1]
            if last.keep is not None:
                raise ValueError(f"{candidate.name}: how much its last step keeps is said by keep_ratios")
            for step in candidate.steps:
                if step.selector is not None:
                    as_selector(step.selector).check()


def decides_itself(step: Rule) -> bool:
    """Whether the step's rule says how much is kept; a column's own rule is asked for a ratio."""
    return step.selector is not None and not as_selector(step.selector).counts


def candidate_name(steps: tuple[Rule, ...]) -> str:
    """What a candidate is called that has no name: its rules and columns, as in "top by el2n"."""
    return one_line(", then ".join(map(_step_name, steps)), 120)


def _step_name(step: Rule) -> str:
    rule = "the default" if step.selector is None else str(step.selector)
    by = step.by
    if isinstance(by, Mapping):
        by = " + ".join(f"{weight:g} {name}" for name, weight in by.items())
    per = step.per if step.per is None or isinstance(step.per, str) else step.per.column
    return rule + (f" by {by}" if by else "") + (f" per {per}" if per else "")
