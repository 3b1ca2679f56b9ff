"""What the table has rows of: each method, at each share of the tokens, in each policy of positions.

Before the decoder a share is of the tokens that enter it, inside it of those behind its last cut, in a tower of those
that leave it; a smaller picture has at most so many. `random_inside` is the baseline of the methods inside: a method
there looks good because the text has read the picture in the layers before.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from prunekernels import registry
from tokenpruner import BlockMethod, LayerContext, LayerMethod, PixelMethod, Stage, TokenMethod
from tokenpruner.base.token_method import METHODS, method_from_text
from tokenpruner.methods.downsample import Downsample

N_TOKENS, RATIOS, POSITIONS = 256, (0.5, 0.25, 0.11, 0.05), ("keep", "compact")
RANDOM_INSIDE = "random_inside"
# methods inside the decoder as they fit one of 4 layers
FITTED = {
    "fastv": ("fastv:layer=1", "fastv:layer=2"),
    "dart": ("dart:layer=1", "dart:layer=2"),
    "sparsevlm": ("sparsevlm:layers=1/2/3",),
    RANDOM_INSIDE: (f"{RANDOM_INSIDE}:layer=1", f"{RANDOM_INSIDE}:layer=2"),
}
LEFT_OUT = {
    "chain": "is made of others",
    "composed_inside": "is fastv by default",
    "pixel_duplicates": "keeps as many as its pictures say",
    "atp": "wants thresholds trained for this decoder",
    "ftp": "wants a router trained for this decoder",
    "evs": "is for videos",
    "fastvid": "is for videos",
    "holitom": "is for videos",
    "vidcom2": "is for videos",
}


@dataclass(frozen=True)
class RandomInside(LayerMethod):
    """A random choice before `layer`."""

    n_keep: int = 64
    layer: int = 2
    seed: int = 0

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        """One cut."""
        return (Stage(self.layer, self.n_keep / N_TOKENS),)

    def importance(self, context: LayerContext) -> torch.Tensor:
        """Numbers drawn by what the tokens look like, so that every picture has its own."""
        key = int(context.hidden.double().sum().abs().item() * 1e6) % 2**31
        generator = torch.Generator().manual_seed(self.seed + key)
        return torch.rand(context.n_tokens, generator=generator).to(context.hidden.device)


@dataclass(frozen=True)
class Case:
    """A method by its text, None for all tokens; `keep_ratio` of the tokens stay."""

    text: str | None = None
    keep_ratio: float = 1.0
    positions: str = "keep"

    @property
    def name(self) -> str:
        """By which it is told from others."""
        return "full" if self.text is None else f"{self.text} {self.keep_ratio:g} {self.positions}"

    def method(self) -> TokenMethod | None:
        """The method with its budget; raises ValueError where it cannot have these positions."""
        if self.text is None:
            return None
        name, _, rest = self.text.partition(":")
        n_keep = -int(-N_TOKENS * self.keep_ratio // 1)
        if name == RANDOM_INSIDE:
            layer = int(rest.removeprefix("layer="))
            return RandomInside(n_keep=n_keep, layer=layer, positions=self.positions)  # type: ignore[arg-type]
        kind = registry.load(METHODS, name, TokenMethod)
        is_inside = issubclass(kind, LayerMethod)
        made = method_from_text(self.text, None if is_inside else self.keep_ratio, n_keep if is_inside else None)
        return dataclasses.replace(made, positions=self.positions)  # type: ignore[call-arg]


def cases(ratios: tuple[float, ...] = RATIOS) -> list[Case]:
    """All tokens first, then the baselines, then the others."""
    baselines = ("downsample", "random", "stride", "pool", RANDOM_INSIDE)
    names = [*baselines, *(name for name in registry.names(METHODS) if name not in (*baselines, *LEFT_OUT))]
    texts = [text for name in names for text in FITTED.get(name, (name,))]
    found = [Case()]
    for ratio in ratios:
        for positions in POSITIONS:
            found += [Case(text, ratio, positions) for text in texts if positions in policies(text)]
    return found


def policies(text: str) -> tuple[str, ...]:
    """The positions that a method can have here: a smaller picture has those of a smaller picture."""
    name = text.partition(":")[0]
    kind = RandomInside if name == RANDOM_INSIDE else registry.load(METHODS, name, TokenMethod)
    return ("compact",) if issubclass(kind, Downsample) else POSITIONS


def reads_text(method: TokenMethod) -> bool:
    """Whether what stays may hang on the question: then each question is a prompt of its own."""
    is_blind = isinstance(method, BlockMethod | PixelMethod) or "text" not in getattr(method, "needs", ("text",))
    return isinstance(method, LayerMethod) or not is_blind
