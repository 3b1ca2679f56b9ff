"""What a method before the decoder is: it ranks or picks the visual tokens of one image; the base does the rest.

A method is a frozen dataclass with a default for every field. It writes only what is its own: `importance`
(higher is kept) or `keep`, and `merge` where kept tokens stand for others; for each of the three it may name a part
instead (`parts`): `scorer`, `selector`, `merging`. It sees one image at a time, so that its picks cannot depend on the
other images or rows of a batch, nor on padding. Of a video it sees the frames: `share` says how many of each stay, or
`choose` all at once, where tokens go into those of other frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

import torch

from prunekernels import select
from prunekernels._finite import refuse_not_finite
from tokenpruner.base.method_output import check_ascending, checked_indices, checked_scores, described, real_tensor
from tokenpruner.base.parts import Part, Scorer, Selector
from tokenpruner.base.positions import Place, Positions
from tokenpruner.base.presets import BEFORE_DECODER, Fields
from tokenpruner.base.token_budget import Budget
from tokenpruner.base.token_method import Newlines, TokenMethod, check_choice
from tokenpruner.models.image_layouts import Grid
from tokenpruner.models.tower_reading import TowerNeed, TowerReading

Need = Literal["visual", "text"] | TowerNeed


@dataclass(frozen=True)
class Context:
    """One image, or one frame of a video, on its way into the decoder.

    `visual` [N, D] are its embeddings behind the projector; `grid` its patches' rows and columns where they are
    known; `row`, `image` and `frame` its place: the batch row, which image of that row, and which frame of it;
    `text` [T, D] the row's other embeddings without padding, given to methods that need them. Of an image that was
    cut up, `views` are the grids whose tokens follow one another, an overview and the whole in detail, and `grid`
    is None. `tower` is what the vision tower says of the N tokens, of it only what the method needs; of newline tokens,
    which it never saw, it says 0. `video` are the embeddings of all frames, this one among them, of a video.
    """

    visual: torch.Tensor
    grid: Grid | None = None
    row: int = 0
    image: int = 0
    text: torch.Tensor | None = None
    frame: int = 0
    views: tuple[Grid, ...] = ()
    tower: TowerReading | None = None
    video: tuple[torch.Tensor, ...] = ()

    @property
    def size(self) -> int:
        """How many visual tokens the image has."""
        return len(self.visual)

    def of_tower(self, need: TowerNeed) -> torch.Tensor:
        """What the vision tower says of the tokens; raises ValueError where it was not read."""
        values: torch.Tensor | None = getattr(self.tower, need, None)
        if values is None:
            raise ValueError(
                f"want {need} of the vision tower for image {self.image} of row {self.row}, got none: a method that "
                "reads it names it in `needs`"
            )
        return values.to(self.visual.device)


@dataclass(frozen=True)
class Merge:
    """For one image of N tokens, n of them kept: `target` int64 [N] says into which kept token, 0 ... n - 1, each goes.

    -1 is into none. `weight` [N] is positive; None weighs all tokens alike.
    """

    target: torch.Tensor
    weight: torch.Tensor | None = None

    def check(self, name: str, picks: torch.Tensor, size: int) -> None:
        """Raise ValueError unless this fits `size` tokens of which `picks` [n] are kept; `name` is the method's."""
        target, n = checked_indices(self.target, (size,), f"{name}: want a merge target int64 [{size}]"), len(picks)
        if not ((target >= -1) & (target < n)).all():
            raise ValueError(f"{name}: want merge targets from -1 to {n - 1}, got {target.min()} to {target.max()}")
        strays = (target[picks] != torch.arange(n, device=target.device)).nonzero()
        if len(strays):
            place = int(strays[0])
            raise ValueError(f"{name}: want kept token {place} to go into itself, got {int(target[picks[place]])}")
        if self.weight is None:
            return
        wanted = f"{name}: want positive merge weights, float32 [{size}]"
        weight = real_tensor(self.weight, wanted)
        # tokens are averaged in float32, where float64 may be 0 or infinite
        if weight.shape != (size,) or weight.dtype.is_complex or not _is_positive(weight.float()):
            raise ValueError(f"{wanted}, got {described(weight)}")


class Choice(NamedTuple):
    """Of a video, `picks` int64 [n] of each frame, ascending, and how all its tokens merge, frame after frame.

    In `merge` the kept tokens are numbered in that order too; None is frame by frame, as `Method.merge` says.
    """

    picks: Sequence[torch.Tensor]
    merge: Merge | None = None


@dataclass(frozen=True)
class ImageScorer(Scorer):
    """A scorer of the tokens that enter the decoder."""

    def score(self, context: Context) -> torch.Tensor:
        """How much each of the image's tokens matters; float32 [N]."""
        raise NotImplementedError(f"{type(self).__name__} does not write score")


@dataclass(frozen=True)
class Merging(Part):
    """Says which of the kept tokens the others go into."""

    folder = "merging"

    def merge(self, context: Context, picks: torch.Tensor) -> Merge:
        """Where each of the image's tokens goes when `picks` [n] are kept."""
        raise NotImplementedError(f"{type(self).__name__} does not write merge")


@dataclass(frozen=True)
class Method(Budget, TokenMethod):
    """The base of the methods before the decoder; how many tokens are kept is said as `Budget` has it.

    What a method needs it says in `needs`; what its parts need is added.
    """

    positions: Positions = "auto"
    newlines: Newlines = "compete"

    # where the authors' code has the tokens that are left
    published_positions: ClassVar[Place] = "compact"
    presets: ClassVar[Mapping[str, Fields]] = BEFORE_DECODER
    # what `importance` or `keep` reads of the context; it is checked to be finite before they are called
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        parts: tuple[Part | None, ...] = (self.scorer, self.selector, self.merging)
        more = frozenset[str]().union(*(part.needs for part in parts if part is not None))
        if not more <= self.needs:
            object.__setattr__(self, "needs", self.needs | more)
        check_choice("positions", self.positions, get_args(Positions))
        check_choice("newlines", self.newlines, get_args(Newlines))

    def tower_needs(self) -> tuple[frozenset[TowerNeed], int]:
        """What it needs of the vision tower, of block `tower_layer`, a field of methods that need any."""
        needs: frozenset[TowerNeed] = frozenset(need for need in get_args(TowerNeed) if need in self.needs)
        return frozenset() if self.keeps_all else needs, getattr(self, "tower_layer", -1)

    @property
    def scorer(self) -> ImageScorer | None:
        """The part in place of `importance`."""
        return None

    @property
    def selector(self) -> Selector | None:
        """The part in place of `keep`; None picks the most important tokens."""
        return None

    @property
    def merging(self) -> Merging | None:
        """The part in place of `merge`; None merges nothing."""
        return None

    def importance(self, context: Context) -> torch.Tensor:
        """Score the image's tokens; float32 [N], higher is kept."""
        if self.scorer is None:
            raise NotImplementedError(f"{type(self).__name__} writes neither importance nor keep, and has no scorer")
        return self.scorer.score(context)

    def keep(self, context: Context, n: int) -> torch.Tensor:
        """Pick `n` of the image's tokens; int64 [n], distinct, ascending. By default the most important ones."""
        if self.selector is not None and not self.selector.reads_scores:
            return self.selector.pick(context.visual, None, n)
        scores = checked_scores(self.importance(context), (context.size,), type(self).__name__)
        return select.top(scores, n) if self.selector is None else self.selector.pick(context.visual, scores, n)

    def share(self, frames: Sequence[Context], counts: Sequence[int]) -> Sequence[int]:
        """How many tokens of each frame of a video stay, as many in all as `counts`: by default those."""
        return counts

    def merge(self, context: Context, picks: torch.Tensor) -> Merge | None:
        """Which tokens go into which of the kept ones, `picks` [n]; None where the others are just dropped."""
        return None if self.merging is None else self.merging.merge(context, picks)

    @property
    def keeps_the_most_important(self) -> bool:
        """True where `importance` alone decides."""
        writes = self.scorer is not None or type(self).importance is not Method.importance
        return writes and self.selector is None and type(self).keep is Method.keep

    @property
    def may_merge(self) -> bool:
        """True where kept tokens may stand for others."""
        own = type(self)
        return self.merging is not None or own.merge is not Method.merge or own.choose is not Method.choose

    def choose(self, frames: Sequence[Context], counts: Sequence[int]) -> Choice:
        """What stays of the frames of a video, as many in all as `counts`: by default of each its share."""
        shared, sizes, first = self.share(frames, counts), [frame.size for frame in frames], frames[0]
        if sum(shared) != sum(counts) or any(not 0 <= n <= size for n, size in zip(shared, sizes, strict=True)):
            wanted = f"{sum(counts)} tokens shared out over frames of {sizes}"
            got = f"in image {first.image} of row {first.row}, got {[*shared]}"
            raise ValueError(f"{type(self).__name__}: want {wanted} {got}")
        return Choice([self.select(frame, n) for frame, n in zip(frames, shared, strict=True)])

    def select(self, context: Context, n: int | None = None) -> torch.Tensor:
        """The `n` tokens that stay, by default as many as of an image alone in its row; int64 [n], ascending."""
        n = self.counts([context.size], context.row)[0] if n is None else n
        if n in (0, context.size):
            return torch.arange(n, device=context.visual.device)
        for need in sorted(self.needs):
            _check_finite(need, context)
        wanted = f"{type(self).__name__}: want {n} distinct ascending int64 indices below {context.size}"
        return check_ascending(checked_indices(self.keep(context, n), (n,), wanted), context.size, wanted)

    def select_frames(self, frames: Sequence[Context], counts: Sequence[int]) -> Choice:
        """The tokens of a video that stay, as many in all as `counts`, and how they merge."""
        name, total, sizes = type(self).__name__, sum(counts), [frame.size for frame in frames]
        if len(frames) == 1 or total in (0, sum(sizes)):
            return Choice([self.select(frame, n) for frame, n in zip(frames, counts, strict=True)])
        if type(self).choose is not Method.choose:
            # what is chosen frame by frame is checked there
            for frame in frames:
                for need in sorted(self.needs):
                    _check_finite(need, frame)
        picks, merge = self.choose(frames, counts)
        checked = []
        for found, size in zip(picks, sizes, strict=True):
            wanted = f"{name}: want distinct ascending int64 indices below {size} of each frame"
            checked.append(check_ascending(checked_indices(found, (-1,), wanted), size, wanted))
        if sum(map(len, checked)) != total:
            raise ValueError(f"{name}: want {total} tokens of a video, got {sum(map(len, checked))}")
        return Choice(checked, merge)


def _is_positive(weight: torch.Tensor) -> bool:
    return bool((weight.isfinite() & (weight > 0)).all())


def _check_finite(need: Need, context: Context) -> None:
    place = f"image {context.image} of row {context.row}"
    if need == "visual" or need == "text":
        values, what = context.visual if need == "visual" else context.text, f"{need} embedding"
        if values is None:
            raise ValueError(f"want {need} embeddings for {place}, got none")
    else:
        values, what = context.of_tower(need), f"{need} of token"
    refuse_not_finite(values, lambda token: f"{what} {token[0]} of {place} has NaN or infinity")
