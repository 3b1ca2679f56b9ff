"""Zero-TPrune (Wang et al., CVPR 2024, arXiv:2305.17328): patches that the attention graph votes out are dropped.

Behind each pruning block, from the attention A_h of that block:

    WPR     s^t = A_h^T s^{t-1}, from 1/N for each token and sqrt(N)/N for the class token
    VHF     heads whose variance over the patches lies outside [v_min, v_max] have no say; all have where none is inside
    EIR     s = sqrt(mean over these heads of s_h^2)

    I'      one vote ranks the patches, nothing is dropped
    S       the less important half is compared with the more important half, by the cosine of the keys averaged over
            the heads; those most similar to one of the other half are dropped, a share `similar` of all that go
    I       votes over the attention among those that are left, renewed by softmax; the least important are dropped

Votes are 30 in the first three blocks, 1 in the last three and 5 between them, of the published 30 to 50, 1, and 5 to
10. There is no official code, and what could not be read is guessed:

    the depths and rates    behind blocks 1, 3, 6, 9 and 11 of 12, each keeping the same fraction: about a third of
                            DeiT-S's FLOPs
    the share of S          half of the cut; a re-implementation drops 10 patches there, a third to two thirds of these
                            cuts at 197 tokens
    the scale of VHF        the published bounds are taken for scores of mean 1. On scores of sum 1, as printed, they
                            silence every head: no variance of N numbers of sum 1 passes 1 / N

Distillation and register tokens vote but stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch

from prunekernels import budget
from prunekernels.page_rank import page_rank
from tokenpruner.base.presets import Fields
from tokenpruner.base.token_method import check_choice
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod, Read, top
from tokenpruner.methods._block_schedule import check_blocks, even_removals, pruning_blocks

Scale = Literal["mean", "sum"]
# the first and the last blocks of a tower, and the votes in them and between them
ENDS, VOTES = 3, (30, 5, 1)


@dataclass(frozen=True)
class ZeroTPrune(BlockMethod):
    """Paper: Wang et al. 2024, CVPR (arXiv:2305.17328); patches that the attention graph votes out are dropped.

    `keep_ratio` of the patches are left in the end, each pruning block keeping the same fraction.

    `blocks` are counted from 1 (default: by depth); `iterations` is one number, or one for each of them (default: by
    depth). `similar` is the share of a cut that the similarity stage drops, at most half of the patches; with 1 nothing
    is voted out until then. `variance_scale` says whether heads are filtered on scores of mean 1 or of sum 1; the
    paper does not. `class_weight=False` is its "-uni".
    """

    keep_ratio: float = 0.4
    blocks: tuple[int, ...] | None = None
    iterations: int | tuple[int, ...] | None = None
    similar: float = 0.5
    variances: tuple[float, ...] = (0.01, 0.7)
    variance_scale: Scale = "mean"
    class_weight: bool = True

    presets: ClassVar[Mapping[str, Fields]] = {
        "published": {"similar": 0.5, "variances": (0.01, 0.7), "variance_scale": "mean"},
        # on DINOv2-S votes cost what likeness gains over random dropping
        "similarity": {"similar": 1.0},
    }
    cost: ClassVar[str] = "the attention of each pruning block anew, and 2 H N^2 FLOP a vote"
    published_count: ClassVar[str] = "not settled: a third of DeiT-S's FLOPs gone"
    reads: ClassVar[frozenset[Read]] = frozenset({"queries", "keys"})

    def __post_init__(self) -> None:
        super().__post_init__()
        budget.check_keep_ratio(self.keep_ratio)
        if isinstance(self.similar, bool) or not 0 <= self.similar <= 1:
            raise ValueError(f"want similar as a share from 0 to 1, got {self.similar}")
        if len(self.variances) != 2 or not 0 <= self.variances[0] <= self.variances[1]:
            raise ValueError(f"want variances as two numbers 0 <= v_min <= v_max, got {self.variances}")
        check_choice("variance_scale", self.variance_scale, get_args(Scale))
        check_blocks(self.blocks)
        several = self.iterations if isinstance(self.iterations, tuple) else (self.iterations or 1,)
        if isinstance(self.iterations, tuple) and (self.blocks is None or len(several) != len(self.blocks)):
            raise ValueError(f"want iterations for each of blocks {self.blocks}, got {self.iterations}")
        if any(count < 1 for count in several) or self.iterations == 0:
            raise ValueError(f"want at least 1 iteration, got {self.iterations}")

    @property
    def keeps_all(self) -> bool:
        """True where nothing is dropped."""
        return self.keep_ratio == 1

    def removals(self, n_patches: int, n_blocks: int) -> Sequence[int]:
        """How many patches are dropped behind each block."""
        return even_removals(n_patches, n_blocks, self.keep_ratio, self.blocks)

    def keep(self, context: BlockContext, n: int) -> torch.Tensor:
        """The three stages, n patches of each image left."""
        queries, keys = context.seen()
        ranked = self._importance(queries, keys, context, 1)
        alive = _dissimilar(ranked, keys[:, :, context.protected :], self._n_similar(context.n_patches, n))
        if alive.shape[1] == n:
            return alive
        first = torch.arange(context.protected, device=alive.device).expand(len(alive), -1)
        tokens = torch.cat([first, alive + context.protected], 1)[:, None, :, None]
        queries, keys = (each.gather(2, tokens.expand(*each.shape[:2], -1, each.shape[3])) for each in (queries, keys))
        voted = self._importance(queries, keys, context, self._n_iterations(context))
        return alive.gather(1, top(voted, n))

    def _n_similar(self, n_patches: int, n: int) -> int:
        """How many go for their likeness where `n` of `n_patches` are left in the end."""
        n_dropped = n_patches - n
        n_voted = 0 if self.similar == 1 else budget.n_keep(n_dropped, 1 - self.similar)
        return min(n_dropped - n_voted, n_patches // 2)

    def _n_iterations(self, context: BlockContext) -> int:
        if isinstance(self.iterations, tuple):
            return self.iterations[pruning_blocks(self.blocks, context.n_blocks).index(context.block + 1)]
        if self.iterations is not None:
            return self.iterations
        first, middle, last = VOTES
        return first if context.block < ENDS else last if context.block >= context.n_blocks - ENDS else middle

    def _importance(
        self, queries: torch.Tensor, keys: torch.Tensor, context: BlockContext, iterations: int
    ) -> torch.Tensor:
        """WPR, VHF and EIR over the attention of [B, H, N, d] queries and keys; the patches' float32 [B, P]."""
        n_tokens = queries.shape[2]
        start = torch.full((n_tokens,), 1 / n_tokens, device=queries.device)
        if self.class_weight and context.has_class:
            start[0] = n_tokens**-0.5
        mass = page_rank((queries, keys), iterations, start)[..., context.protected :]
        return filtered_importance(mass, self.variances, self.variance_scale)


def filtered_importance(mass: torch.Tensor, variances: Sequence[float], scale: Scale = "mean") -> torch.Tensor:
    """One score a patch out of one for each head [B, H, P]: heads filtered by variance, then the mean square's root."""
    # a head that gives the patches nothing is even
    scaled = mass / mass.mean(-1, keepdim=True).clamp(min=torch.finfo(mass.dtype).tiny)
    scaled = scaled / mass.shape[-1] if scale == "sum" else scaled
    variance = scaled.var(-1, correction=0)
    heard = (variance >= variances[0]) & (variance <= variances[1])
    heard |= ~heard.any(-1, keepdim=True)
    weight = heard.to(mass.dtype)[..., None]
    return ((mass.square() * weight).sum(1) / weight.sum(1)).sqrt()


def _dissimilar(ranked: torch.Tensor, keys: torch.Tensor, n: int) -> torch.Tensor:
    """All patches but the `n` of the less important half that are most like one of the others; int64 [B, P - n]."""
    n_patches = ranked.shape[1]
    if n == 0:
        return torch.arange(n_patches, device=ranked.device).expand(len(ranked), -1)
    order = ranked.sort(dim=1, stable=True).indices
    less, more = order[:, : n_patches // 2].sort(1).values, order[:, n_patches // 2 :]
    unit = torch.nn.functional.normalize(keys.mean(1, dtype=torch.float32), dim=-1)
    width = unit.shape[-1]
    rows, columns = (unit.gather(1, half[..., None].expand(-1, -1, width)) for half in (less, more))
    alike = (rows @ columns.mT).amax(-1)
    gone = less.gather(1, top(alike, n))
    stays = torch.ones_like(ranked, dtype=torch.bool).scatter_(1, gone, False)
    return stays.byte().sort(dim=1, descending=True, stable=True).indices[:, : n_patches - n]
