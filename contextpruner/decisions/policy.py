"""Policies: from probabilities to kept units, each kept or dropped for a reason.

    threshold       keeps every unit whose probability is at least the threshold
    top_k           keeps the k most probable units over all documents, ties to the earlier
    max_tokens      keeps what fits a token budget over all documents (`token_budget`)
    target_recall   keeps what reaches the threshold that a calibration gives for this recall (`calibration`)
    none of them    the labeler's own threshold

What a kept unit leans on is kept with it (`closure`), beyond the k of top_k, within the budget of max_tokens.

Where nothing passes, `empty` decides: "keep_best" keeps the most probable unit, "original" everything,
"empty" nothing; for the question as a whole, or with empty_per="document" for every document by itself. A
token budget holds in any case: what does not fit is not brought back. It holds for the kept texts of the documents;
what is put between them, say a blank line or citation labels, is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from contextpruner.decisions.closure import DEPENDENCIES, Dependencies, Dependency
from contextpruner.decisions.token_budget import within_budget
from contextpruner.decisions.token_counter import TokenCounter
from contextpruner.units.split import SplitDocument

Reason = (
    Literal["threshold", "top_k", "budget", "keep_best", "original", "below_threshold", "below_top_k", "over_budget"]
    | Dependency
)
RULES = ("threshold", "top_k", "max_tokens", "target_recall")
KEPT: dict[str, Reason] = {
    "threshold": "threshold",
    "top_k": "top_k",
    "max_tokens": "budget",
    "target_recall": "threshold",
}
DROPPED: dict[str, Reason] = {
    "threshold": "below_threshold",
    "top_k": "below_top_k",
    "max_tokens": "over_budget",
    "target_recall": "below_threshold",
}


@dataclass(frozen=True)
class Policy:
    """At most one of `threshold` in [0, 1], `top_k`, `max_tokens` and `target_recall` in (0, 1); and what goes with it.

    `closure` names the dependencies that are kept with a unit, none where it is empty; `empty` and `empty_per` say
    what happens where nothing passes.
    """

    threshold: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    target_recall: float | None = None
    closure: tuple[Dependency, ...] = DEPENDENCIES
    empty: Literal["keep_best", "original", "empty"] = "keep_best"
    empty_per: Literal["question", "document"] = "question"

    def __post_init__(self) -> None:
        if len(given := self._given()) > 1:
            raise ValueError(f"want one of {', '.join(RULES)}, got {' and '.join(given)}")
        value = self.threshold
        if value is not None and (not _is_number(value, float) or not 0 <= value <= 1):
            raise ValueError(f"threshold wants a number in [0, 1], got {value!r}")
        for name, count, least in (("top_k", self.top_k, 1), ("max_tokens", self.max_tokens, 0)):
            if count is not None and (not _is_number(count, int) or count < least):
                raise ValueError(f"{name} wants an integer of at least {least}, got {count!r}")
        recall = self.target_recall
        if recall is not None and (not _is_number(recall, float) or not 0 < recall < 1):
            raise ValueError(f"target_recall wants a number in (0, 1), got {recall!r}")
        if not isinstance(self.closure, tuple) or not set(self.closure) <= set(DEPENDENCIES):
            raise ValueError(f"closure wants a tuple of {', '.join(DEPENDENCIES)}, got {self.closure!r}")
        if self.empty not in ("keep_best", "original", "empty"):
            raise ValueError(f"empty wants keep_best, original or empty, got {self.empty!r}")
        if self.empty_per not in ("question", "document"):
            raise ValueError(f"empty_per wants question or document, got {self.empty_per!r}")

    @property
    def rule(self) -> str:
        """The name of the rule; raises ValueError where the labeler's own threshold is still to be filled in."""
        if not (given := self._given()):
            raise ValueError(f"want a policy with one of {', '.join(RULES)}, got none")
        return given[0]

    def or_threshold(self, threshold: float | None, labeler: str) -> Policy:
        """This policy, with the `threshold` of `labeler` where it has no rule; raises ValueError if there is none."""
        if self._given():
            return self
        if threshold is None:
            raise ValueError(f"want one of {', '.join(RULES)}: {labeler} has no threshold of its own")
        return replace(self, threshold=threshold)

    def _given(self) -> list[str]:
        return [rule for rule in RULES if getattr(self, rule) is not None]


def choose(
    policy: Policy,
    documents: Sequence[SplitDocument],
    probabilities: Sequence[np.ndarray],
    count_tokens: TokenCounter,
    threshold: float | None = None,
) -> list[list[Reason]]:
    """Why each unit of each document is kept or dropped; the kept ones are those of `is_kept`.

    `threshold` is what a calibration gives where the policy has a target recall.
    """
    flat = np.concatenate(probabilities)
    units = [unit for document in documents for unit in document.units]
    competes = np.array([unit.competes for unit in units], dtype=bool)
    flat[~competes] = 0
    # markup says nothing: it is kept with the whole document or not at all
    flat[[unit.kind == "markup" for unit in units]] = -1
    # a list that is asked for as a whole fills a budget item by item
    along = Dependencies(documents, policy.closure, flat if policy.max_tokens is None else None)
    passed = _passed(policy, documents, flat, count_tokens, along, threshold)
    kept, dropped = KEPT[policy.rule], DROPPED[policy.rule]
    reasons: list[Reason] = [kept if is_passed else dropped for is_passed in passed]
    edges = np.cumsum([0, *map(len, probabilities)]).tolist()
    groups = [(edges[0], edges[-1])] if policy.empty_per == "question" else list(zip(edges, edges[1:], strict=False))
    for start, end in groups:
        if policy.max_tokens is None and start < end and not passed[start:end].any():
            reasons[start:end] = _rescue(policy, np.where(competes, flat, -1)[start:end], dropped)
    chosen = [number for number, reason in enumerate(reasons) if reason != dropped]
    for kind, other in along.reached(chosen, set(chosen).__contains__):
        reasons[other] = kind
    return [reasons[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def _passed(
    policy: Policy,
    documents: Sequence[SplitDocument],
    flat: np.ndarray,
    count_tokens: TokenCounter,
    along: Dependencies,
    threshold: float | None,
) -> np.ndarray:
    """Which units pass the rule by themselves, bool [units]."""
    if policy.threshold is not None or policy.target_recall is not None:
        wanted = policy.threshold if policy.target_recall is None else threshold
        if wanted is None:
            raise ValueError("want the threshold of a calibration for target_recall, got none")
        # as float32, so that a unit whose probability prints as the threshold passes it
        return flat >= np.float32(wanted)
    units = [unit for document in documents for unit in document.units]
    competes = np.array([unit.competes for unit in units], dtype=bool) & (flat >= 0)
    ranked = np.argsort(-flat, kind="stable")
    ranked = ranked[competes[ranked]]
    if policy.top_k is not None:
        passed = np.zeros(len(flat), dtype=bool)
        passed[ranked[: policy.top_k]] = True
        return passed
    return within_budget(documents, ranked, policy.max_tokens or 0, count_tokens, along)


def is_kept(reason: Reason) -> bool:
    """Whether a unit with this reason stays."""
    return reason not in DROPPED.values()


def _rescue(policy: Policy, probabilities: np.ndarray, dropped: Reason) -> list[Reason]:
    reasons: list[Reason] = [dropped] * len(probabilities)
    if policy.empty == "original":
        return ["original"] * len(probabilities)
    if policy.empty == "keep_best" and probabilities.max() >= 0:
        reasons[int(probabilities.argmax())] = "keep_best"
    return reasons


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
