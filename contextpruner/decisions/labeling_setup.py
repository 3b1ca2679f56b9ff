"""What probabilities come from: a labeler, its model and the splitter whose units it saw.

A threshold that is right for one setup means nothing for another. Two are told apart by their names and fields.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import MISSING, dataclass

from contextpruner.labeler import Labeler
from contextpruner.units.sentence_splitter import SentenceSplitter
from contextpruner.units.split import Splitter
from prunekernels import spec

# fields of labelers that say where and how they run, not what they say
ELSEWHERE = ("model", "batch_size", "device")


@dataclass(frozen=True)
class LabelingSetup:
    """The labeler without its model, the model's folder or hub id if it has one, the splitter."""

    labeler: str
    model: str | None = None
    splitter: str = "rules"

    def __str__(self) -> str:
        return f"{self.labeler}{f' with {self.model}' if self.model else ''} on units of {self.splitter}"


def setup_of(labeler: Labeler, splitter: Splitter) -> LabelingSetup:
    """The setup of what `labeler` says of the units of `splitter`."""
    if not dataclasses.is_dataclass(labeler):
        return LabelingSetup(type(labeler).__name__, splitter=_name(splitter))
    fields = [field for field in dataclasses.fields(labeler) if field.name in ELSEWHERE]
    defaults = {field.name: field.default for field in fields if field.default is not MISSING}
    bare = spec.describe(dataclasses.replace(labeler, **defaults))
    return LabelingSetup(bare, getattr(labeler, "model", None), _name(splitter))


def _name(splitter: Callable[..., object]) -> str:
    if isinstance(splitter, SentenceSplitter):
        return spec.describe(splitter)
    if isinstance(splitter, functools.partial):
        given = [*map(repr, splitter.args), *(f"{name}={value!r}" for name, value in sorted(splitter.keywords.items()))]
        return f"{_name(splitter.func)}({', '.join(given)})"
    return getattr(splitter, "__qualname__", type(splitter).__name__)
