"""What an evaluation says, as numbers; tables, JSON and the page are made of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from datapruner.evaluation.paired_statistics import CONFIDENCE, Difference

LEVEL = 1 - CONFIDENCE


@dataclass(frozen=True)
class Against:
    """A way of training held against `baseline`, pair by pair; `p_holm` is corrected over all that are.

    `p_not_worse` is against being worse by the margin or more, `p_not_worse_holm` is corrected likewise.
    """

    baseline: str
    difference: Difference
    p_holm: float
    p_not_worse: float
    p_not_worse_holm: float

    @property
    def word(self) -> str:
        """better, not worse (by the margin), worse, or open: the seeds do not decide it."""
        is_sure = self.p_holm <= LEVEL
        if is_sure and self.difference.mean > 0:
            return "better"
        if self.p_not_worse_holm <= LEVEL:
            return "not worse"
        return "worse" if is_sure else "open"


@dataclass(frozen=True)
class Share:
    """A class or source: its share of all rows, and of the kept ones."""

    name: str
    whole: float
    kept: float


@dataclass(frozen=True)
class Drift:
    """How the mix by `kind`, label or group, moved: `moved` is the total variation distance in [0, 1]."""

    kind: str
    moved: float
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Cost:
    """Seconds of what comes before training, of training, and from the start to the target quality.

    `reached` counts the trainings that reached it; the seconds and steps are their mean, None where not all did.
    """

    before: float
    training: float
    reached: int
    seconds_to_target: float | None
    steps_to_target: float | None


@dataclass(frozen=True)
class Row:
    """One way of training at one budget: `share` of the rows or tokens, `rows` kept on average.

    `ratio` is what was asked, None where the rule decides. `low` and `high` are the 95 % interval of the mean quality.
    `overlap` is the share of kept rows that a draw of the same size holds, too; by chance it is `overlap_by_chance`.
    """

    way: str
    is_candidate: bool
    ratio: float | None
    share: float
    rows: float
    qualities: tuple[float, ...]
    mean: float
    low: float
    high: float
    cost: Cost
    against: tuple[Against, ...] = ()
    overlap: float | None = None
    overlap_by_chance: float | None = None
    drift: tuple[Drift, ...] = ()
    # of the candidates: against a draw being as good, or all rows being better by the margin, corrected over them
    p_apply: float | None = None


@dataclass(frozen=True)
class Result:
    """All rows of the table, and what follows: `verdict` is one sentence."""

    quality: str
    higher_is_better: bool
    margin: float
    target: float
    budget: str
    n_rows: int
    n_test_rows: int
    n_shared: int
    proxy: str
    steps: int
    seeds: Mapping[str, int]
    rows: tuple[Row, ...]
    apply: str | None
    verdict: str
    notes: tuple[str, ...]

    def as_json(self) -> str:
        """Everything, with the words of each comparison."""
        made = dataclasses.asdict(self)
        for told, row in zip(made["rows"], self.rows, strict=True):
            for item, against in zip(told["against"], row.against, strict=True):
                item["word"] = against.word
        return json.dumps({"format": 1, **made}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
