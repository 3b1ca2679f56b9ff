"""What the table has rows of: each method, at each share of the tokens, in each policy of positions.

Before the decoder a share is of the tokens that enter it, inside it of those behind its last cut, in a tower of those
that leave it; a smaller picture has at most so many. `random_inside` is the baseline of the methods inside: a method
there looks good because the text has read the picture in the layers before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from prunekernels import budget, registry, spec
from tokenpruner import BlockMethod, LayerContext, LayerMethod, Method, TokenMethod
from tokenpruner.base.layer_budget import BudgetedLayerMethod
from tokenpruner.base.method_chain import MethodChain
from tokenpruner.base.schedules.one_cut import OneCut
from tokenpruner.base.token_method import METHODS, method_from_text
from tokenpruner.methods._image_noise import image_keys, uniform

N_TOKENS, RATIOS, POSITIONS = 256, (0.5, 0.25, 0.11, 0.05), ("keep", "compact")
FULL, DOWNSAMPLE, RANDOM_INSIDE = "full", "downsample", "random_inside"
BASELINES = (DOWNSAMPLE, "random", "stride", "pool", RANDOM_INSIDE)
# as they fit a decoder of 4 layers; sparsevlm cuts behind a layer
FITTED = {
    "fastv": ("fastv:layer=1", "fastv:layer=2"),
    # cdpruner by default; this is what its scores do alone
    "composed": ("composed:scorer=relevance,selector=top",),
    "dart": ("dart:layer=1", "dart:layer=2"),
    "sparsevlm": ("sparsevlm:layers=0/1/2",),
    RANDOM_INSIDE: (f"{RANDOM_INSIDE}:layer=1", f"{RANDOM_INSIDE}:layer=2"),
}
LEFT_OUT = {
    "chain": "is made of others",
    "composed_inside": "is fastv by default",
    "pixel_duplicates": "keeps as many as its pictures say",
    "atp": "wants thresholds trained for this decoder",
    "ftp": "wants a router trained for this decoder",
    "flows": "wants a router trained for this decoder: `benchmarks.lvlm.flows` trains one",
    "evs": "is for videos",
    "fastvid": "is for videos",
    "holitom": "is for videos",
    "vidcom2": "is for videos",
}


class EqualBudget(NamedTuple):
    """What costs as much as a method before the decoder: the decoder's share of FLOPs, the tokens of a smaller picture,
    and the fraction that methods inside the tower keep, by their text forms."""

    decoder_share: float
    n_smaller: int
    kept_in_tower: dict[str, float]


@dataclass(frozen=True)
class RandomInside(BudgetedLayerMethod):
    """A random choice before `layer`."""

    layer: int = 2
    seed: int = 0

    @property
    def schedule(self) -> OneCut:
        """One cut."""
        return OneCut(self.layer)

    def importance(self, context: LayerContext) -> torch.Tensor:
        """Numbers drawn by what the tokens look like, so that every picture has its own on every device."""
        (key,) = image_keys(context.hidden[None])
        return uniform(context.n_tokens, self.seed, key).to(context.hidden.device)


@dataclass(frozen=True)
class Case:
    """A method by its text, None for all tokens; `keep_ratio` of the tokens stay.

    With `budget` "flops" the text says how many stay, at the FLOPs of a method that keeps those before the decoder.
    """

    text: str | None = None
    keep_ratio: float = 1.0
    positions: str = "keep"
    budget: str = "tokens"

    @property
    def name(self) -> str:
        """By which it is told from others."""
        return FULL if self.text is None else f"{self.text} {self.keep_ratio:g} {self.positions}"

    def method(self) -> TokenMethod | None:
        """The method with its budget; raises ValueError where it cannot have these positions."""
        if self.text is None:
            return None
        name, fields = spec.parse(self.text)
        if self.budget == "tokens":
            fields |= self._tokens(_kind(name))
        if name == RANDOM_INSIDE:
            numbers = {key: float(value) if "." in value else int(value) for key, value in fields.items()}
            return RandomInside(**numbers, positions=self.positions)  # type: ignore[arg-type]
        return method_from_text(str(spec.Text(name, fields | {"positions": self.positions})))

    def _tokens(self, kind: type[TokenMethod]) -> dict[str, str]:
        if issubclass(kind, LayerMethod):
            return {"n_keep": str(budget.n_keep(N_TOKENS, self.keep_ratio))}
        return {"keep_ratio": str(self.keep_ratio)}


def cases(ratios: tuple[float, ...] = RATIOS) -> list[Case]:
    """All tokens first, then the baselines, then the others."""
    found = [Case()]
    for ratio in ratios:
        for positions in POSITIONS:
            found += [Case(text, ratio, positions) for text in _texts() if positions in policies(text)]
    return found


def equal_flops(ratio: float, budgets: EqualBudget) -> list[Case]:
    """Where a method before the decoder keeps `ratio` of the tokens: others at its FLOPs.

    Methods inside the decoder get its share of the decoder's FLOPs, a smaller picture and methods inside the tower cost
    no more in tower and decoder together.
    """
    found = [Case(f"{DOWNSAMPLE}:n_keep={budgets.n_smaller}", ratio, "compact", "flops")]
    for text in _texts():
        if text in budgets.kept_in_tower:
            fields = f"keep_ratio={budgets.kept_in_tower[text]:.4f}"
        elif issubclass(_kind(name_of(text)), BudgetedLayerMethod):
            fields = f"flops_ratio={budgets.decoder_share:.4f}"
        else:
            continue
        told = f"{text}{',' if ':' in text else ':'}{fields}"
        found += [Case(told, ratio, positions, "flops") for positions in policies(text)]
    return found


def alike(cases: Sequence[Case]) -> list[list[Case]]:
    """Those that differ in positions alone together, where what stays does not hang on them; in about their order."""
    found: dict[tuple[str | None, float, str, str], list[Case]] = {}
    for case in cases:
        hangs = case.text is not None and not is_ahead(case.text)
        found.setdefault((case.text, case.keep_ratio, case.budget, case.positions if hangs else ""), []).append(case)
    return [*found.values()]


def inside_tower() -> list[str]:
    """The text forms of the methods inside the vision tower."""
    return [text for text in _texts() if issubclass(_kind(name_of(text)), BlockMethod)]


def _texts() -> list[str]:
    names = [*BASELINES, *(name for name in registry.names(METHODS) if name not in (*BASELINES, *LEFT_OUT))]
    return [text for name in names for text in FITTED.get(name, (name,))]


def name_of(text: str) -> str:
    """The name of the method of a text form."""
    return text.partition(":")[0]


def _kind(name: str) -> type[TokenMethod]:
    return RandomInside if name == RANDOM_INSIDE else registry.load(METHODS, name, TokenMethod)


def policies(text: str) -> tuple[str, ...]:
    """The positions that a method can have here: a smaller picture has those of a smaller picture."""
    return ("compact",) if name_of(text) == DOWNSAMPLE else POSITIONS


def is_before(text: str) -> bool:
    """Whether the method of a text form prunes before the decoder."""
    return issubclass(_kind(name_of(text)), Method)


def is_ahead(text: str) -> bool:
    """Whether the method of a text form has chosen when the decoder begins."""
    return issubclass(_kind(name_of(text)), Method | BlockMethod)


def cuts_once_inside(text: str) -> bool:
    """Whether the method of a text form cuts inside the decoder once, at a layer that it names."""
    name, _, fields = text.partition(":")
    return name != RANDOM_INSIDE and fields.startswith("layer=") and issubclass(_kind(name), LayerMethod)


def in_tower(method: TokenMethod) -> bool:
    """Whether tokens leave inside the tower, which then sees a picture anew for each method."""
    return isinstance(method, BlockMethod) or (isinstance(method, MethodChain) and method.tower is not None)


def reads_text(method: TokenMethod) -> bool:
    """Whether what stays may hang on the question: then each question is a prompt of its own."""
    is_inside = isinstance(method, LayerMethod | MethodChain)
    return is_inside or (isinstance(method, Method) and "text" in method.needs)
