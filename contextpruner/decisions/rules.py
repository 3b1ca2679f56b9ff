"""Rules: what a person asks for, and the reasons that answer it. `policy` says in which order they are gone through."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, get_args

from contextpruner.decisions.closure import DEPENDENCIES, Dependency, checked_closure
from contextpruner.decisions.patterns import Pattern

# why a unit is kept for its own sake, and why it is dropped
Kept = Literal[
    "protected", "at_least", "threshold", "share_of_best", "top_k", "budget", "neighbour", "keep_best", "original"
]
Dropped = Literal[
    "below_top_documents", "irrelevant", "below_threshold", "below_share_of_best", "below_top_k", "over_document_limit",
    "over_budget",
]  # fmt: skip
DROPPED: frozenset[str] = frozenset(get_args(Dropped))
COPY = "copy of "
# one of `Kept`, `Dropped` and the dependencies of `closure`; or "copy of 2.7", with the label of the unit that is kept
Reason = str

# what says by itself which units pass; the last one given names the reason of what is kept
RULES = ("target_recall", "threshold", "share_of_best", "top_k", "max_tokens")
KEPT: dict[str, Kept] = {
    "target_recall": "threshold",
    "threshold": "threshold",
    "share_of_best": "share_of_best",
    "top_k": "top_k",
    "max_tokens": "budget",
}


class GivenRules(TypedDict, total=False):
    """The rules that can be given by name, in place of a `Policy` of them."""

    threshold: float | None
    top_k: int | None
    max_tokens: int | None
    target_recall: float | None


# the least of each count
COUNTS = {
    "top_k": 1,
    "max_tokens": 0,
    "top_documents": 1,
    "min_document_units": 1,
    "max_document_units": 0,
    "min_document_tokens": 1,
    "max_document_tokens": 0,
}


@dataclass(frozen=True)
class Policy:
    """What is kept: rules, each of which narrows what the others leave, and what goes with them.

    Rules: `threshold`, the least probability in [0, 1], or `target_recall` in (0, 1), for which a calibration gives it;
    `share_of_best` in (0, 1] of the question's most probable unit; `top_k` units; `max_tokens` over all documents.
    Where none of them is given the labeler's own threshold holds. Without a threshold of 0 no unit of probability 0 is
    kept for its own sake.

    For documents: only the `top_documents` best ones; at least and at most so many units and tokens of each
    (`min_document_units` and so on); with `reorder` they come out best first.

    Beside them: `redundancy` in (0, 1], the likeness from which on a unit is a copy of one in another document;
    `mmr` in [0, 1], the weight of relevance where units are ranked by marginal relevance (1: by relevance alone);
    `neighbours`, how many units before and behind are kept along; `protect`, patterns of what is always kept;
    `closure`, the dependencies that are kept with a unit; `empty` and `empty_per`, what happens where nothing passes.
    """

    threshold: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    target_recall: float | None = None
    closure: tuple[Dependency, ...] = DEPENDENCIES
    empty: Literal["keep_best", "original", "empty"] = "keep_best"
    empty_per: Literal["question", "document"] = "question"
    share_of_best: float | None = None
    top_documents: int | None = None
    reorder: bool = False
    min_document_units: int | None = None
    max_document_units: int | None = None
    min_document_tokens: int | None = None
    max_document_tokens: int | None = None
    neighbours: tuple[int, int] = (0, 0)
    protect: tuple[str, ...] = ()
    redundancy: float | None = None
    mmr: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and self.target_recall is not None:
            raise ValueError("want one of threshold and target_recall, got both")
        self._check_shares()
        for name, least in COUNTS.items():
            _check_count(name, getattr(self, name), least)
        for kind in ("units", "tokens"):
            least, most = getattr(self, f"min_document_{kind}"), getattr(self, f"max_document_{kind}")
            if least is not None and most is not None and least > most:
                raise ValueError(f"want min_document_{kind} of at most max_document_{kind}, got {least} and {most}")
        if not isinstance(self.neighbours, tuple) or len(self.neighbours) != 2:
            raise ValueError(f"neighbours wants a pair of counts, before and behind, got {self.neighbours!r}")
        for count in self.neighbours:
            _check_count("neighbours", count, 0)
        self._check_choices()
        if not isinstance(self.protect, tuple):
            raise ValueError(f"protect wants a tuple of patterns, got {self.protect!r}")
        for pattern in self.protect:
            Pattern(pattern)

    def _check_shares(self) -> None:
        kinds = {"threshold": "[0, 1]", "mmr": "[0, 1]", "share_of_best": "(0, 1]", "redundancy": "(0, 1]"}
        for name, interval in (kinds | {"target_recall": "(0, 1)"}).items():
            value = getattr(self, name)
            if value is None:
                continue
            is_inside = _is_number(value, float) and 0 <= value <= 1
            if not is_inside or (interval[0] == "(" and value == 0) or (interval[-1] == ")" and value == 1):
                raise ValueError(f"{name} wants a number in {interval}, got {value!r}")

    def _check_choices(self) -> None:
        checked_closure(self.closure)
        if self.empty not in ("keep_best", "original", "empty"):
            raise ValueError(f"empty wants keep_best, original or empty, got {self.empty!r}")
        if self.empty_per not in ("question", "document"):
            raise ValueError(f"empty_per wants question or document, got {self.empty_per!r}")
        if not isinstance(self.reorder, bool):
            raise ValueError(f"reorder wants True or False, got {self.reorder!r}")

    @classmethod
    def of(cls, policy: Policy | None, given: GivenRules) -> Policy:
        """`policy`, or one of the rules that are given by name; raises ValueError for both."""
        if unknown := given.keys() - GivenRules.__annotations__.keys():
            names = ", ".join(GivenRules.__annotations__)
            raise TypeError(f"want rules among {names}, or a policy, got {', '.join(sorted(unknown))}")
        if policy is None:
            return cls(**given)
        if any(value is not None for value in given.values()):
            raise ValueError(f"want a policy or one of {', '.join(GivenRules.__annotations__)}, got both")
        return policy

    @property
    def rules(self) -> Mapping[str, float | int]:
        """The rules that are given, by name."""
        return {rule: getattr(self, rule) for rule in RULES if getattr(self, rule) is not None}

    @property
    def rule(self) -> str:
        """The last rule that is given; raises ValueError where the labeler's own threshold is still to be filled in."""
        if not self.rules:
            raise ValueError(f"want a policy with one of {', '.join(RULES)}, got none")
        return [*self.rules][-1]

    def or_threshold(self, threshold: float | None, labeler: str) -> Policy:
        """This policy, with the `threshold` of `labeler` where it has no rule; raises ValueError if there is none."""
        if self.rules:
            return self
        if threshold is None:
            raise ValueError(f"want one of {', '.join(RULES)}: {labeler} has no threshold of its own")
        return replace(self, threshold=threshold)


def is_kept(reason: Reason) -> bool:
    """Whether a unit with this reason stays."""
    return reason not in DROPPED and not reason.startswith(COPY)


def _check_count(name: str, count: object, least: int) -> None:
    if count is not None and (not _is_number(count, int) or count < least):  # type: ignore[operator]
        raise ValueError(f"{name} wants an integer of at least {least}, got {count!r}")


def _is_number(value: object, kind: type) -> bool:
    is_one = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return is_one and math.isfinite(value)  # type: ignore[arg-type]
