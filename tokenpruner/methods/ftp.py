"""FTP (Li et al. 2024, arXiv:2412.11494): a router lets tokens pass single layers by, and they come back behind them.

Each decoder layer but the first is told by a schedule what share of an image's tokens shall pass it by: they keep the
hidden states that they came with, and their keys and values are there to be read. Which ones is up to the router
(`_ftp_router`), whose weights and schedule `tokenpruner.training` makes: a genetic search over schedules with the
static router, training of the router, a search with it. Without weights the static router chooses: of each image the
first token and the last ones are computed, exactly as many as the schedule says.

The paper prunes models of text, with every token routed; here visual tokens are, and text is always computed. There is
no published code. With mode="drop" tokens leave for good at the first layer that they would have passed by, with "skip"
they pass all layers from there on by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from prunekernels import budget
from tokenpruner.base.inside_decoder import LayerContext, LayerMethod, Mode, Stage, check_finite
from tokenpruner.base.token_method import Newlines
from tokenpruner.methods._ftp_router import FTPRouter, check_schedule, computed, factors, first_and_last
from tokenpruner.methods._text_attention import attention_from_text

# training works with the parts of this method too
__all__ = ["FTP", "FTPRouter"]


@dataclass(frozen=True)
class FTP(LayerMethod):
    """Paper: Li et al. 2024 (arXiv:2412.11494); a router lets tokens pass single layers by, which then come back.

    `keep_ratio` of each image's tokens is computed, the mean over the layers: the first computes all, the others as
    many as `schedule` says, alike without one. `weights` is what `FTPRouter.save` wrote, its schedule with it.
    """

    keep_ratio: float = 0.7
    schedule: tuple[float, ...] = ()
    weights: str = ""
    mode: Mode = field(default="route", kw_only=True)
    # as it is trained: newlines are in the text
    newlines: Newlines = field(default="keep", kw_only=True)

    reads: ClassVar[str] = "with weights the text's attention in each layer, ahead of it; else the order of tokens"
    cost: ClassVar[str] = "the text's rows of attention and 640 FLOP a token in each layer"
    published_count: ClassVar[str] = "60 to 78 % of the tokens of a text are computed, the mean over 32 layers"

    def __post_init__(self) -> None:
        super().__post_init__()
        budget.check_keep_ratio(self.keep_ratio)
        if self.schedule:
            check_schedule(self.schedule)
        if (self.schedule or self.weights) and self.keep_ratio != type(self).keep_ratio:
            raise ValueError(f"want one of keep_ratio and a schedule, which weights have too, got {self}")

    @property
    def keeps_all(self) -> bool:
        """True where no image, however large, loses a token."""
        return not any(self.schedule) if self.schedule else not self.weights and self.keep_ratio == 1

    def shares(self, n_layers: int) -> tuple[float, ...]:
        """What share of an image's tokens passes each of `n_layers` by."""
        shares = self.schedule or (self.router(torch.device("cpu")).schedule if self.weights else ())
        if shares and len(shares) != n_layers:
            raise ValueError(f"want a schedule for {n_layers} decoder layers, got one for {len(shares)}")
        return shares or uniform(n_layers, self.keep_ratio)

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        """Each layer that tokens pass by; with weights it is read ahead."""
        told = [(layer, share) for layer, share in enumerate(self.shares(n_layers)) if share > 0]
        if self.weights:
            return tuple(Stage(layer, reads=layer, queries="text") for layer, _ in told)
        return tuple(Stage(layer, 1 - share) for layer, share in told)

    def keep(self, context: LayerContext, n: int) -> torch.Tensor:
        """The first token and the last ones."""
        return first_and_last(context.n_tokens, n, context.kept.device)

    def select(self, context: LayerContext) -> torch.Tensor:
        """The tokens that the layer computes."""
        if not self.weights:
            return super().select(context)
        router = self.router(context.kept.device)
        share = (self.schedule or router.schedule)[context.stage.layer]
        attention = attention_from_text(context.seen(), context.columns, context.text)
        logits = router(factors(context.kept, context.size, attention, share))
        check_finite(logits, context, self)
        return computed(logits).nonzero().flatten()

    def router(self, device: torch.device) -> FTPRouter:
        """What `weights` hold, on `device`."""
        return FTPRouter.kept(self.weights, device)


def uniform(n_layers: int, keep_ratio: float) -> tuple[float, ...]:
    """The schedule by which all layers but the first are passed alike; raises ValueError where that is too much."""
    if n_layers < 2:
        raise ValueError(f"want at least 2 decoder layers, of which the first computes all tokens, got {n_layers}")
    share = (1 - keep_ratio) * n_layers / (n_layers - 1)
    if share >= 1:
        raise ValueError(
            f"want a keep_ratio above {1 / n_layers:.3g}, which the first of {n_layers} layers takes alone, "
            f"got {keep_ratio}"
        )
    return (0.0, *(share,) * (n_layers - 1))
