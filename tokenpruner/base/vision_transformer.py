"""What a method inside a vision transformer is: behind some blocks it drops or merges tokens.

`removals` says how many tokens go behind each block. The whole batch is reduced at once, each image by itself and
all by the same number, so that the images of a batch stay of one length and none depends on another. A method
that drops writes only `importance` (higher is kept) or `keep`; one that merges writes `reduce`. The class token,
distillation and register tokens are protected: they stand first and always stay.

Reducing happens at the end of a block: its attention and its MLP see all the tokens that entered it, the next block
is the first to see fewer. In the tower of a vision-language model the decoder gets those that are left, a merged one
at the place of one of its patches; `positions` says where they stand in its sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, get_args

import torch

from prunekernels._finite import refuse_where
from prunekernels.attention_received import attention_received
from prunekernels.page_rank import page_rank
from tokenpruner.base.method_output import check_ascending, checked_indices, checked_scores, described, real_tensor
from tokenpruner.base.positions import Place, Positions
from tokenpruner.base.token_method import TokenMethod, check_choice

Read = Literal["queries", "keys"]


class Reduced(NamedTuple):
    """`hidden` [B, M, D], `sizes` [B, M] or None where every token counts once, `target` int64 [B, N].

    `target` says where each of the N old tokens went, -1 for one that was dropped. `kept` int64 [B, M] is the old
    token at whose place a new one stands.
    """

    hidden: torch.Tensor
    sizes: torch.Tensor | None
    target: torch.Tensor
    kept: torch.Tensor


@dataclass(frozen=True)
class BlockContext:
    """The images of a batch behind block `block` of `n_blocks`, counted from 0.

    `hidden` [B, N, D] is what the block puts out; `queries` and `keys` [B, H, N, d] are those of its attention, given
    to methods that name them in `reads`, without gradient; `sizes` [B, N] how many patches each token stands for,
    None while that is one; the first `protected` tokens are no patches. `has_class` says that token 0 is the class.
    """

    hidden: torch.Tensor
    block: int
    n_blocks: int
    protected: int = 0
    has_class: bool = False
    queries: torch.Tensor | None = None
    keys: torch.Tensor | None = None
    sizes: torch.Tensor | None = None

    @property
    def n_patches(self) -> int:
        """How many tokens may go."""
        return self.hidden.shape[1] - self.protected

    def seen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries and keys; raises ValueError where the method did not ask for both."""
        return self.read("queries"), self.read("keys")

    def read(self, name: Read) -> torch.Tensor:
        """Queries or keys; raises ValueError where the method did not ask for them."""
        found = self.queries if name == "queries" else self.keys
        if found is None:
            raise ValueError(f"want {name}: a method names them in `reads`")
        return found

    def received(self) -> torch.Tensor:
        """The attention that each token receives from all, by head; float32 [B, H, N], N in sum."""
        return attention_received(*self.seen())

    def voted(self, iterations: int, start: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted PageRank over the block's attention, by head; float32 [B, H, N]. `start` as in `page_rank`."""
        return page_rank(self.seen(), iterations, start)


@dataclass(frozen=True)
class BlockMethod(TokenMethod):
    """The base of the methods inside a vision transformer."""

    positions: Positions = field(default="auto", kw_only=True)

    # none were published inside such a tower; so stand those of methods before the decoder
    published_positions: ClassVar[Place] = "compact"
    # what `importance`, `keep` or `reduce` reads of the block's attention
    reads: ClassVar[frozenset[Read]] = frozenset()
    # True where tokens come to stand for several patches; such a method drops none
    merges: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_choice("positions", self.positions, get_args(Positions))

    @property
    def weighs(self) -> bool:
        """True where attention counts a merged token as often as it has patches."""
        return self.merges

    def removals(self, n_patches: int, n_blocks: int) -> Sequence[int]:
        """How many of an image's `n_patches` go behind each of the blocks; raises ValueError for too few blocks."""
        raise NotImplementedError(f"{type(self).__name__} does not write removals")

    def importance(self, context: BlockContext) -> torch.Tensor:
        """Score the patches; float32 [B, P], higher is kept."""
        raise NotImplementedError(f"{type(self).__name__} writes neither importance, keep nor reduce")

    def keep(self, context: BlockContext, n: int) -> torch.Tensor:
        """Pick `n` patches of each image; int64 [B, n], distinct, ascending. By default the most important ones."""
        wanted = (len(context.hidden), context.n_patches)
        return top(checked_scores(self.importance(context), wanted, type(self).__name__), n)

    def reduce(self, context: BlockContext, n: int) -> Reduced:
        """Take `n` tokens away from each image. By default those that `keep` does not pick are dropped."""
        images, n_kept, n_patches = len(context.hidden), context.n_patches - n, context.n_patches
        wanted = (
            f"{type(self).__name__}: want {n_kept} distinct ascending int64 indices below {n_patches} "
            f"for each of {images} images"
        )
        picks = checked_indices(self.keep(context, n_kept), (images, n_kept), wanted)
        return dropped(context, check_ascending(picks, n_patches, wanted))


def dropped(context: BlockContext, picks: torch.Tensor) -> Reduced:
    """Protected tokens and the patches `picks` int64 [B, n], the others gone."""
    images, n_tokens = context.hidden.shape[:2]
    first = torch.arange(context.protected, device=picks.device).expand(images, -1)
    kept = torch.cat([first, picks + context.protected], 1)
    target = torch.full((images, n_tokens), -1, device=picks.device)
    target.scatter_(1, kept, torch.arange(kept.shape[1], device=picks.device).expand(images, -1))
    hidden = context.hidden[torch.arange(images, device=kept.device)[:, None], kept]
    return Reduced(hidden, None if context.sizes is None else context.sizes.gather(1, kept), target, kept)


def top(scores: torch.Tensor, n: int) -> torch.Tensor:
    """The `n` highest of each row of `scores` [B, P], ties to the lower index; int64 [B, n], ascending."""
    refuse_where(scores.isnan().any(-1), lambda place: f"image {place[0]} has scores that are NaN")
    return scores.sort(dim=-1, descending=True, stable=True).indices[:, :n].sort(-1).values


def checked_removals(removals: object, method: BlockMethod) -> Sequence[int]:
    """What `method.removals` gave where it is counts; raises ValueError for anything else."""
    if not isinstance(removals, Sequence) or not all(type(count) is int and count >= 0 for count in removals):
        raise ValueError(f"{type(method).__name__}: want removals as counts of at least 0, got {removals!r:.80}")
    return removals


def checked_reduced(reduced: object, context: BlockContext, n: int, method: BlockMethod) -> Reduced:
    """What `method.reduce` gave where its tensors fit each other and at most `n` tokens are gone; else ValueError.

    Their numbers are not looked at, which would wait for the device.
    """
    name = type(method).__name__
    if not isinstance(reduced, Reduced):
        raise ValueError(f"{name}: want Reduced of reduce, got {described(reduced)}")
    images, n_tokens, width = context.hidden.shape
    dtype = context.hidden.dtype
    wanted = f"{name}: want reduced hidden states {dtype} {[images, n_tokens - n, width]}"
    hidden = real_tensor(reduced.hidden, wanted)
    # pairs may be too few for all that was asked
    left = hidden.shape[1] if hidden.ndim == 3 and n_tokens - n <= hidden.shape[1] <= n_tokens else n_tokens - n
    if hidden.shape != (images, left, width) or hidden.dtype != dtype:
        raise ValueError(f"{wanted}, got {described(hidden)}")
    checked_indices(reduced.target, (images, n_tokens), f"{name}: want a target int64 {[images, n_tokens]}")
    checked_indices(reduced.kept, (images, left), f"{name}: want kept int64 {[images, left]}")
    if reduced.sizes is not None:
        wanted = f"{name}: want sizes of floats {[images, left]}"
        sizes = real_tensor(reduced.sizes, wanted)
        if sizes.shape != (images, left) or not sizes.is_floating_point():
            raise ValueError(f"{wanted}, got {described(sizes)}")
    return reduced
