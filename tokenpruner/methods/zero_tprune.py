"""Zero-TPrune (Wang et al., CVPR 2024, arXiv:2305.17328): patches that the attention graph votes out are dropped.

Behind each pruning block, from the attention A_h of that block:

    WPR     s^t = A_h^T s^{t-1}, from 1/N for each token and sqrt(N)/N for the class token
    VHF     heads whose variance over the patches, of scores scaled to mean 1, lies outside [v_min, v_max] have no say;
            all have where none is inside
    EIR     s = sqrt(mean over these heads of s_h^2)

    I'      one vote ranks the patches, nothing is dropped
    S       the less important half is compared with the more important half, by the cosine of the keys averaged over
            the heads; the `n_similar` most similar to one of the other half are dropped
    I       votes over the attention among those that are left, renewed by softmax; the least important are dropped

Iterations fall with depth, where attention is already a summary. There is no official code. The paper's depths and
rates are not settled by what could be read; the defaults are pruning behind blocks 1, 3, 6, 9 and 11 of 12, each
keeping the same fraction, which takes about a third of DeiT-S's FLOPs. Variance on scores of sum 1, as printed, would
silence every head: the published bounds fit scores of mean 1. Distillation and register tokens vote but stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from prunekernels import budget
from prunekernels.page_rank import page_rank
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod, Read, top
from tokenpruner.methods._block_schedule import check_blocks, even_removals, pruning_blocks


@dataclass(frozen=True)
class ZeroTPrune(BlockMethod):
    """Paper: Wang et al. 2024, CVPR (arXiv:2305.17328); patches that the attention graph votes out are dropped.

    `keep_ratio` of the patches are left in the end, each pruning block keeping the same fraction.

    `blocks` are counted from 1 (default: by depth); `iterations` is one number, or one for each of them (default: 30
    in the first third of the depth, 5 in the second, 1 in the last). `class_weight=False` is the paper's "-uni".
    """

    keep_ratio: float = 0.4
    blocks: tuple[int, ...] | None = None
    iterations: int | tuple[int, ...] | None = None
    n_similar: int = 10
    variances: tuple[float, ...] = (0.01, 0.7)
    class_weight: bool = True

    cost: ClassVar[str] = "the attention of each pruning block anew, and 2 H N^2 FLOP a vote"
    published_count: ClassVar[str] = "not settled: a third of DeiT-S's FLOPs gone"
    reads: ClassVar[frozenset[Read]] = frozenset({"queries", "keys"})

    def __post_init__(self) -> None:
        budget.check_keep_ratio(self.keep_ratio)
        if self.n_similar < 0:
            raise ValueError(f"want n_similar of at least 0, got {self.n_similar}")
        if len(self.variances) != 2 or not 0 <= self.variances[0] <= self.variances[1]:
            raise ValueError(f"want variances as two numbers 0 <= v_min <= v_max, got {self.variances}")
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
        n_dropped = context.n_patches - n
        similar = min(self.n_similar, n_dropped, context.n_patches // 2)
        alive = _dissimilar(ranked, keys[:, :, context.protected :], similar)
        first = torch.arange(context.protected, device=alive.device).expand(len(alive), -1)
        tokens = torch.cat([first, alive + context.protected], 1)[:, None, :, None]
        queries, keys = (each.gather(2, tokens.expand(*each.shape[:2], -1, each.shape[3])) for each in (queries, keys))
        voted = self._importance(queries, keys, context, self._n_iterations(context))
        return alive.gather(1, top(voted, n))

    def _n_iterations(self, context: BlockContext) -> int:
        if isinstance(self.iterations, tuple):
            return self.iterations[pruning_blocks(self.blocks, context.n_blocks).index(context.block + 1)]
        if self.iterations is not None:
            return self.iterations
        return (30, 5, 1)[3 * context.block // context.n_blocks]

    def _importance(
        self, queries: torch.Tensor, keys: torch.Tensor, context: BlockContext, iterations: int
    ) -> torch.Tensor:
        """WPR, VHF and EIR over the attention of [B, H, N, d] queries and keys; the patches' float32 [B, P]."""
        n_tokens = queries.shape[2]
        start = torch.full((n_tokens,), 1 / n_tokens, device=queries.device)
        if self.class_weight and context.has_class:
            start[0] = n_tokens**-0.5
        mass = page_rank((queries, keys), iterations, start)[..., context.protected :]
        return filtered_importance(mass, self.variances)


def filtered_importance(mass: torch.Tensor, variances: Sequence[float]) -> torch.Tensor:
    """One score a patch out of one for each head [B, H, P]: heads filtered by variance, then the mean square's root."""
    # scaled to mean 1; a head that gives the patches nothing is even
    scaled = mass / mass.mean(-1, keepdim=True).clamp(min=torch.finfo(mass.dtype).tiny)
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
