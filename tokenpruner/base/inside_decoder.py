"""What a method inside the decoder is: before some layers it picks the visual tokens that go on.

`stages` says before which layers, how many tokens are then left of each image, and whose attention is read for
the choice. Like any method it sees one image at a time and writes only `importance` (higher is kept) or `keep`, or
names parts, `scorer` and `selector`; one that lets the data decide how many tokens stay has stages without
`keep_ratio` and writes `select`.

    mode="drop"   the tokens leave: the layers from there on hold fewer keys and values
    mode="skip"   the tokens pass those layers by unchanged, but their keys and values are there to be read
    mode="route"  the same for the one layer of each stage, which chooses among all tokens: they come back behind it
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, get_args

import torch

from prunekernels import budget, select
from prunekernels._finite import refuse_where
from tokenpruner.base.before_decoder import Merge
from tokenpruner.base.method_output import check_ascending, checked_indices, checked_scores
from tokenpruner.base.parts import Scorer, Selector
from tokenpruner.base.positions import Place, Positions
from tokenpruner.base.token_method import Newlines, TokenMethod, check_choice, patches_left
from tokenpruner.models.attention import Attention
from tokenpruner.models.image_layouts import Grid

Mode = Literal["drop", "skip", "route"]
Queries = Literal["all", "last", "text"]


@dataclass(frozen=True)
class Stage:
    """One cut, before decoder layer `layer`, counted from 0.

    `keep_ratio` is the fraction that is left of the tokens of an image that entered the decoder; None where the method
    decides. `reads` is the layer whose attention the method gets: `layer` itself, computed ahead of it, or an earlier
    one that runs on the same tokens; None where it reads none. With queries="last" the method looks at the attention of
    the row's last token alone, with "text" at that of tokens that are no visual ones too, and no other queries are
    made. With `embeds` it also gets what the image and the text were as they entered the decoder.
    """

    layer: int
    keep_ratio: float | None = None
    reads: int | None = None
    queries: Queries = "all"
    embeds: bool = False


class Cost(Protocol):
    """What a decoder layer costs."""

    def flops(self, n_tokens: int, n_past: int = 0) -> int:
        """FLOPs of `n_tokens` of one row behind `n_past` others."""


@dataclass(frozen=True)
class LayerContext:
    """One image inside the decoder.

    `hidden` [N, D] are the hidden states of its tokens that are still there, as they enter layer `stage.layer`;
    `kept` int64 [N] says which of the image's `size` tokens those are, `columns` int64 [N] where they stand in
    their row, counted without padding. `attention` is that of the row at layer `stage.reads`, if one is read;
    `text` int64 [T] are the row's columns that hold no visual token; `n_newlines` how many newline tokens the image
    has besides, which are not chosen among. `grid`, `row`, `image`, `frame` and `views` as in `Context`.

    `text_hidden` [T, D] are the hidden states of `text`. `entered` is how many of the image's tokens came to layer 0,
    fewer than all behind a method before it. `costs` are those of all decoder layers, None where one is not known;
    `row_sizes` the tokens of each image and frame of the row, and `n_others` how many other tokens it has. `embeds`
    [n_entered, D] are the image's tokens as they came to layer 0, `text_embeds` [T, D] those of `text`, where the stage
    asks for them.
    """

    hidden: torch.Tensor
    kept: torch.Tensor
    size: int
    stage: Stage
    columns: torch.Tensor
    text: torch.Tensor
    attention: Attention | None = None
    grid: Grid | None = None
    row: int = 0
    image: int = 0
    frame: int = 0
    views: tuple[Grid, ...] = ()
    n_newlines: int = 0
    costs: tuple[Cost | None, ...] = ()
    row_sizes: tuple[int, ...] = ()
    n_others: int = 0
    text_hidden: torch.Tensor | None = None
    entered: int | None = None
    embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    # what a method made of it and needs again, by the method
    notes: dict[object, object] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def n_entered(self) -> int:
        """How many of the image's tokens entered the decoder: what ratios are of."""
        return self.size if self.entered is None else self.entered

    @property
    def n_tokens(self) -> int:
        """How many tokens of the image are still there."""
        return len(self.kept)

    def seen(self) -> Attention:
        """The attention that the stage reads; raises ValueError where it reads none."""
        if self.attention is None:
            raise ValueError(f"want a stage with `reads`, got {self.stage}")
        return self.attention

    def from_last(self) -> torch.Tensor:
        """Attention of the row's last token to each of the image's tokens, mean over heads; float32 [N]."""
        return self.seen().of_last().mean(0)[self.columns]


@dataclass(frozen=True)
class LayerScorer(Scorer):
    """A scorer of tokens inside the decoder; `queries` are those whose attention it looks at, None for no attention."""

    queries: ClassVar[Queries | None] = None

    def score(self, context: LayerContext) -> torch.Tensor:
        """How much each of the tokens that are still there matters; float32 [N]."""
        raise NotImplementedError(f"{type(self).__name__} does not write score")


@dataclass(frozen=True)
class LayerMethod(TokenMethod):
    """The base of the methods inside the decoder."""

    positions: Positions = field(default="auto", kw_only=True)
    mode: Mode = field(default="drop", kw_only=True)
    newlines: Newlines = field(default="compete", kw_only=True)

    # for docs/methods.md: what it reads of the decoder
    reads: ClassVar[str] = ""
    # where the authors' code has the tokens that are left
    published_positions: ClassVar[Place] = "keep"

    def __post_init__(self) -> None:
        for name, kind in (("positions", Positions), ("mode", Mode), ("newlines", Newlines)):
            check_choice(name, getattr(self, name), get_args(kind))
        if self.positions == "calibrated":
            raise ValueError('positions="calibrated" wants a method before the decoder: take "keep"')
        if self.mode != "drop" and self.positions == "compact":
            raise ValueError(f'want positions="keep" with mode="{self.mode}", which leaves no gaps, got "compact"')

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        """The cuts in a decoder of `n_layers`, in order; raises ValueError where it has too few layers."""
        raise NotImplementedError(f"{type(self).__name__} does not write stages")

    @property
    def scorer(self) -> LayerScorer | None:
        """The part in place of `importance`."""
        return None

    @property
    def selector(self) -> Selector | None:
        """The part in place of `keep`; None picks the most important tokens."""
        return None

    def importance(self, context: LayerContext) -> torch.Tensor:
        """Score the image's tokens that are still there; float32 [N], higher is kept."""
        if self.scorer is None:
            raise NotImplementedError(f"{type(self).__name__} writes neither importance nor keep, and has no scorer")
        return self.scorer.score(context)

    def keep(self, context: LayerContext, n: int) -> torch.Tensor:
        """Pick `n` of the N tokens; int64 [n], distinct, ascending. By default the most important ones."""
        if self.selector is not None and not self.selector.reads_scores:
            return self.selector.pick(context.hidden, None, n)
        scores = checked_scores(self.importance(context), (context.n_tokens,), type(self).__name__)
        check_finite(scores, context, self)
        return select.top(scores, n) if self.selector is None else self.selector.pick(context.hidden, scores, n)

    def select(self, context: LayerContext) -> torch.Tensor:
        """The tokens that go on, any number of the N; int64, distinct, ascending. By default as the stage says."""
        ratio = context.stage.keep_ratio
        if ratio is None:
            raise NotImplementedError(f"{type(self).__name__} writes neither a stage's keep_ratio nor select")
        place = f"image {context.image} of row {context.row}"
        asked = budget.n_keep(context.n_entered + context.n_newlines, ratio)
        n = patches_left(asked, context.n_newlines, context.n_tokens, self.newlines, place)
        return torch.arange(n, device=context.kept.device) if n == context.n_tokens else self.keep(context, n)

    def merge(self, context: LayerContext, picks: torch.Tensor) -> Merge | None:
        """Which of the N tokens go into which of the kept ones, `picks` [n]; None where the others are just dropped."""
        return None


def check_stages(stages: tuple[Stage, ...], n_layers: int) -> None:
    """Raise ValueError unless the stages can be had in a decoder of `n_layers`."""
    before = 0
    for stage in stages:
        if not 0 < stage.layer < n_layers:
            raise ValueError(
                f"want a layer from 1 to {n_layers - 1} of the {n_layers} that the decoder has, got {stage.layer}: "
                "before the first layer there are other methods, such as DivPrune"
            )
        if stage.layer <= before:
            raise ValueError(f"want the layers of the stages to ascend, got {stage.layer} after {before}")
        if stage.keep_ratio is not None:
            budget.check_keep_ratio(stage.keep_ratio)
        if stage.reads is not None and not before <= stage.reads <= stage.layer:
            raise ValueError(f"layer {stage.layer}: want to read layer {before} to {stage.layer}, got {stage.reads}")
        before = stage.layer


def check_finite(scores: torch.Tensor, context: LayerContext, method: LayerMethod) -> None:
    """Raise ValueError where one of the scores [N] of the context's tokens is no number."""
    name = type(method).__name__
    place = f"image {context.image} of row {context.row} before layer {context.stage.layer}"
    refuse_where(
        ~scores.isfinite(), lambda token: f"{name}: importance of token {token[0]} of {place} is NaN or infinite"
    )


def check_picks(picks: object, context: LayerContext, method: LayerMethod) -> torch.Tensor:
    """`picks` where they are distinct ascending indices of the context's tokens; raises ValueError otherwise."""
    wanted = f"{type(method).__name__}: want distinct ascending int64 indices below {context.n_tokens}"
    return check_ascending(checked_indices(picks, (-1,), wanted), context.n_tokens, wanted)
