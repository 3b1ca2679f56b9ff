"""The parts that methods are put together of: who scores, who picks, what goes into what, and where the cuts are.

    scorer      score(context)                how much each token of an image matters; higher is kept
    selector    pick(features, scores, n)     which n tokens stay
    merging     merge(context, picks)         which kept token each of the others goes into
    schedule    stages(n_layers, x)           before which decoder layers tokens leave, x of the method's own fraction

A method names a part as a class attribute and writes itself what no part does. Part and method are frozen dataclasses,
and a part has a text form as a method has: "crops:n=16". A file in `scorers/`, `selectors/`, `merging/` or `schedules/`
is a part of its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch

from prunekernels import spec

FOLDER = "tokenpruner.base"
AnyPart = TypeVar("AnyPart", bound="Part")


class Part:
    """A part of any kind; `needs` is what it reads of the context of a method before the decoder."""

    folder: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()

    def __str__(self) -> str:
        """The text form."""
        return spec.describe(self)


class Scorer(Part):
    """Scores the tokens of one image, float32 [N]: before the decoder an `ImageScorer`, inside it a `LayerScorer`."""

    folder = "scorers"


@dataclass(frozen=True)
class Selector(Part):
    """Picks tokens, wherever in a model: it sees numbers alone."""

    folder = "selectors"
    # False for one that looks at features only, so that nothing is scored for it
    reads_scores: ClassVar[bool] = True

    def pick(self, features: torch.Tensor, scores: torch.Tensor | None, n: int) -> torch.Tensor:
        """`n` of the tokens with `features` [N, D] and `scores` [N]; int64 [n], distinct, ascending, 0 < n < N."""
        raise NotImplementedError(f"{type(self).__name__} does not write pick")


def part(wanted: AnyPart | str, kind: type[AnyPart]) -> AnyPart:
    """The part of `kind` that `wanted` is or describes; raises ValueError for any other."""
    found = spec.build(f"{FOLDER}.{kind.folder}", wanted, Part) if isinstance(wanted, str) else wanted
    if not isinstance(found, kind):
        raise ValueError(f"want one of {kind.folder} as {kind.__name__}, got {wanted!s:.80}")
    return found
