"""The kinds of methods, by where in a model they work.

    before_decoder.Method           before the decoder: image by image, as the embeddings enter
    inside_decoder.LayerMethod      inside the decoder: before one or several of its layers
    vision_transformer.BlockMethod  inside a vision transformer: behind some of its blocks

Each kind is a base class in a file of its own and has its engine; `api` picks the engine by the kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Self

from prunekernels import spec
from tokenpruner.base.presets import Fields
from tokenpruner.models.tower_reading import TowerNeed

METHODS = "tokenpruner.methods"
PRESET = "preset"
# the tokens that end the lines of an image in some models (LLaVA-NeXT): "compete" with the patches, as in the published
# code of DivPrune, FastV and PyramidDrop; "keep", all of them, and so many patches fewer; "drop", all of them
Newlines = Literal["compete", "keep", "drop"]


class TokenMethod:
    """A method of any kind: what the folder of methods is loaded as."""

    # for docs/methods.md, a line each: FLOPs or passes of choosing, and how many tokens the authors keep
    cost: ClassVar[str] = ""
    published_count: ClassVar[str] = ""
    # settings of papers, the fields of each by its name
    presets: ClassVar[Mapping[str, Fields]] = {}

    def __str__(self) -> str:
        """The text form."""
        return spec.describe(self)

    @classmethod
    def preset(cls, name: str) -> Self:
        """The method as a paper has it; raises ValueError with the names that there are."""
        if name not in cls.presets:
            raise ValueError(f"{cls.__name__} has no preset {name!r:.80}; it has {', '.join(cls.presets) or 'none'}")
        return cls(**cls.presets[name])

    @property
    def keeps_all(self) -> bool:
        """True where no image, however large, loses a token."""
        return False

    def tower_needs(self) -> tuple[frozenset[TowerNeed], int]:
        """What is read of the vision tower while it encodes, and of which of its blocks."""
        return frozenset(), -1


def check_choice(name: str, value: object, known: Sequence[str]) -> None:
    """Raise ValueError unless `value` of the field `name` is one of `known`."""
    if value not in known:
        said = ", ".join(f'"{one}"' for one in known[:-1])
        raise ValueError(f'want {name} {said} or "{known[-1]}", got {value!r}')


def patches_left(n: int, n_newlines: int, n_patches: int, newlines: Newlines, place: str) -> int:
    """How many patches stay where `n` tokens of an image are asked for; `place` says in errors which image it is.

    Raises ValueError where the newlines that stay leave room for no patch.
    """
    if newlines != "keep" or not n_newlines:
        return min(n, n_patches)
    if n <= n_newlines:
        raise ValueError(
            f'{place} has {n_newlines} newline tokens: want more than those kept with newlines="keep", got {n}; '
            'take "compete" or "drop"'
        )
    return min(n - n_newlines, n_patches)


def method_from_text(text: str, keep_ratio: float | None = None, n_keep: int | None = None) -> TokenMethod:
    """The method that `text` describes, say "divprune:positions=compact", with a budget said beside it.

    "divprune:preset=llava-1.5-64" is a preset of its class, whose other fields may be said as well.
    """
    said = {"keep_ratio": keep_ratio, "n_keep": n_keep}
    more = [f"{name}={value}" for name, value in said.items() if value is not None]
    if len(more) > 1:
        raise ValueError(f"want one of keep_ratio and n_keep, got {' and '.join(more)}")
    if more:
        (name, _, value), parts = more[0].partition("="), spec.parse(text)
        if name in parts.fields:
            raise ValueError(f"want {name} once, got {text} and {more[0]}")
        text = str(parts._replace(fields=parts.fields | {name: value}))
    name, given = spec.parse(text)
    wanted = given.pop(PRESET, None)
    method = spec.build(METHODS, str(spec.Text(name, given)), TokenMethod)
    if wanted is None:
        return method
    # checks the name
    type(method).preset(wanted)
    fields = {key: value for key, value in type(method).presets[wanted].items() if key not in given}
    return replace(method, **fields)  # type: ignore[type-var]
