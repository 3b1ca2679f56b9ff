"""The engine of methods inside a vision transformer: hooks on its blocks that reduce the tokens between them.

Tokens go at the output of a block. A token that has come to stand for several patches weighs as much as they did in
every attention behind (proportional attention of ToMe):

    softmax(q k^T / sqrt(d) + log size)

which is what attention over as many equal keys would give, as an additive mask [B, 1, 1, N] and, where an attention
pools the tokens, there too. A mean over patches taken by a head outside the tower gets each merged token once for
each of its patches, so that it weighs by size.

What a pass knows lives in its thread between the tower's two hooks. A block's own hooks stand outside of its gradient
checkpoint in newer releases of transformers; where they would run again in the backward pass, that is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from prunekernels._finite import raise_pending
from tokenpruner.base.vision_transformer import (
    BlockContext,
    BlockMethod,
    Read,
    checked_reduced,
    checked_removals,
)
from tokenpruner.models.forward_hooks import after_forward, before_forward
from tokenpruner.models.overrides import NotCopied
from tokenpruner.models.transformers_api import Kwargs, checkpoint_reruns_hooks
from tokenpruner.models.vision_towers import Block, Tower
from tokenpruner.report.flops import tower_flops
from tokenpruner.report.records import KeptImage, Prefill, Report
from tokenpruner.report.timing import Stopwatch, clock
from tokenpruner.vision_transformer.tower_pass import Local, TowerPass, follow, log_sizes, spread

Args = tuple[object, ...]
# attention that adds a mask to its scores
ADDITIVE = ("sdpa", "eager")


class VisionTransformerEngine(NotCopied):
    """One vision transformer being pruned by one method into one report."""

    def __init__(
        self, model: nn.Module, tower: Tower, method: BlockMethod, report: Report, n_blocks: int | None = None
    ) -> None:
        self.tower, self.core, self.method, self.report = tower, tower.module, method, report
        # tokens that go behind later ones would be missed by nobody
        self.n_blocks = len(tower.blocks) if n_blocks is None else n_blocks
        parts = [module for block in self.tower.blocks for module in (block.module, block.queries, block.keys)]
        self.hooked = (model, self.core, self.tower.patches, self.tower.pooler or self.core, *parts)
        self.name = type(model).__name__
        # whether it is this engine's turn in a thread
        self.acts: Callable[[], bool] = lambda: True
        self.local, self.lock = Local(), threading.Lock()
        # asked once, so that a schedule that does not fit is refused before anything is changed
        checked_removals(self.method.removals(2, self.n_blocks), method)
        if method.weighs and not method.keeps_all:
            self._check_masks()

    def _check_masks(self) -> None:
        attention = getattr(self.core.config, "_attn_implementation", "eager")
        if attention not in ADDITIVE:
            raise ValueError(f"merged tokens weigh by a mask: want attention {' or '.join(ADDITIVE)}, got {attention}")
        if not all(block.takes_mask for block in self.tower.blocks):
            raise ValueError(
                f"{self.name}: its blocks take no attention mask in this release of transformers, so that merged "
                "tokens could not weigh as many as they are: want a newer release, or proportional=False"
            )

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While open, every pass of the tower is pruned, whichever thread runs it; then all is as it was."""
        with ExitStack() as stack:
            handles = [
                before_forward(self.core, self._before_tower),
                after_forward(self.core, self._after_tower),
                self.tower.patches.register_forward_hook(self._after_patches),
            ]
            for number, block in enumerate(self.tower.blocks):
                handles += self._on_block(number, block)
            if self.tower.pooler is not None:
                handles.append(before_forward(self.tower.pooler, self._before_pooler))
            for handle in handles:
                stack.callback(handle.remove)
            yield

    def _on_block(self, number: int, block: Block) -> list[torch.utils.hooks.RemovableHandle]:
        def before(module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
            return self._before_block(number, module, args, kwargs)

        def after(module: nn.Module, args: Args, output: object) -> object:
            return self._after_block(number, output)

        handles = [
            before_forward(block.module, before),
            # ahead of the hooks that collect hidden states, which then are what the next block gets
            block.module.register_forward_hook(after, prepend=True),
        ]
        for name in sorted(self.method.reads):
            linear = block.queries if name == "queries" else block.keys

            def note(module: nn.Module, args: Args, output: torch.Tensor, name: Read = name) -> None:
                current = self.local.current
                if current is not None and self._n_removed(current, number):
                    heads = output.detach().unflatten(-1, (block.heads, -1))
                    current.read[name] = heads.transpose(1, 2)

            handles.append(linear.register_forward_hook(note))
        return handles

    def _before_tower(self, module: nn.Module, args: Args, kwargs: Kwargs) -> None:
        device = self.tower.patches.weight.device
        self.local.current = TowerPass(clock(device), Stopwatch(device)) if self.acts() else None

    def _after_patches(self, module: nn.Module, args: Args, output: torch.Tensor) -> None:
        if self.local.current is not None:
            self.local.current.grid = (output.shape[-2], output.shape[-1])

    def _before_block(self, number: int, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        current = self.local.current
        hidden = args[0] if args else kwargs.get("hidden_states")
        if current is None or not isinstance(hidden, torch.Tensor):
            return None
        if number == 0:
            self._begin(current, hidden)
        if not self.method.keeps_all:
            _check_checkpoint(module)
            if (args[1] if len(args) > 1 else kwargs.get("attention_mask")) is not None:
                raise ValueError("want no attention_mask while tokens are taken out of a vision transformer, got one")
        current.lengths.append(hidden.shape[1])
        if current.sizes is None or not self.method.weighs:
            return None
        mask = log_sizes(current.sizes, hidden)[:, None, None]
        if len(args) > 1:
            return (args[0], mask, *args[2:]), kwargs
        return args, {**kwargs, "attention_mask": mask}

    def _begin(self, current: TowerPass, hidden: torch.Tensor) -> None:
        """Count the tokens and lay down what goes behind each block."""
        n_patches = hidden.shape[1] - self.tower.protected
        if current.grid is None or hidden.ndim != 3 or n_patches != current.grid[0] * current.grid[1]:
            raise ValueError(
                f"{self.name}: want {self.tower.protected} tokens before the patches of a grid {current.grid}, "
                f"got {[*hidden.shape]}"
            )
        current.n_images = len(hidden)
        if not self.method.keeps_all:
            current.removals = checked_removals(self.method.removals(n_patches, self.n_blocks), self.method)

    def _n_removed(self, current: TowerPass, number: int) -> int:
        """How many tokens go behind block `number`; at least one patch stays."""
        if number >= len(current.removals):
            return 0
        return min(current.removals[number], current.lengths[-1] - self.tower.protected - 1)

    def _after_block(self, number: int, output: object) -> object:
        current = self.local.current
        if current is None:
            return None
        n_removed = self._n_removed(current, number)
        if n_removed < 1:
            return None
        if not isinstance(output, torch.Tensor):
            raise ValueError(f"{self.name}: want blocks that return a tensor, got {type(output).__name__}")
        # scores keep their float32 where the model runs in mixed precision
        with torch.autocast(output.device.type, enabled=False), current.selection.running():
            context = BlockContext(
                hidden=output,
                block=number,
                n_blocks=self.n_blocks,
                protected=self.tower.protected,
                has_class=self.tower.has_class,
                queries=current.read.get("queries"),
                keys=current.read.get("keys"),
                sizes=None if current.sizes is None else current.sizes.to(output.device),
            )
            current.read = {}
            reduced = checked_reduced(self.method.reduce(context, n_removed), context, n_removed, self.method)
            follow(current, reduced)
        return reduced.hidden

    def _before_pooler(self, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        current = self.local.current
        if current is None or current.sizes is None or not self.method.weighs:
            return None
        probe = args[0]
        if not isinstance(module, nn.MultiheadAttention) or not isinstance(probe, torch.Tensor):
            return None
        mask = log_sizes(current.sizes, probe)[:, None, None]
        mask = mask.expand(-1, module.num_heads, probe.shape[1], -1).flatten(0, 1)
        return args, {**kwargs, "attn_mask": mask}

    def _after_tower(self, module: nn.Module, args: Args, kwargs: Kwargs, output: object) -> object:
        current, self.local.current = self.local.current, None
        # the hook is called without output where the pass raised
        if current is None or output is None:
            return None
        self._add(self._record(current), current)
        return spread(output, current) if self.tower.is_averaged else None

    def _add(self, record: Prefill, current: TowerPass) -> None:
        """Count a pass that is over."""
        with self.lock:
            self.report.add(record)

    def _record(self, current: TowerPass) -> Prefill:
        """The numbers of one pass."""
        elapsed = clock(current.selection.device) - current.started
        # all is done by now, and checks on their way have arrived
        raise_pending()
        n_images, n_tokens = current.n_images, current.lengths[0]
        cuts = [self._images(current, kept) for kept in current.kept]
        whole = torch.arange(n_tokens).expand(n_images, -1)
        left = current.kept[-1].shape[1] if cuts else n_tokens
        return Prefill(
            images=cuts[-1] if cuts else self._images(current, whole),
            tokens_before=(n_tokens,) * n_images,
            tokens_after=(left,) * n_images,
            selection_ms=current.selection.milliseconds(),
            prefill_ms=1000 * elapsed,
            flops_before=n_images * tower_flops(self.tower.blocks, [n_tokens] * len(current.lengths)),
            flops_after=n_images * tower_flops(self.tower.blocks, current.lengths),
            kv_bytes_before=0,
            kv_bytes_after=0,
            layers=tuple((n,) * n_images for n in current.lengths),
            cuts=tuple(cuts) if len(cuts) > 1 else (),
            part="vision transformer",
        )

    def _images(self, current: TowerPass, kept: torch.Tensor) -> tuple[KeptImage, ...]:
        """The patches among the tokens `kept` [B, M] of each image."""
        protected, n_patches = self.tower.protected, current.lengths[0] - self.tower.protected
        patches = (kept[:, protected:] - protected).tolist()
        return tuple(KeptImage(row, 0, n_patches, tuple(own), current.grid) for row, own in enumerate(patches))


def _check_checkpoint(block: nn.Module) -> None:
    """Raise where a gradient checkpoint would run the block's hooks once more, when the pass is over."""
    if checkpoint_reruns_hooks(block):
        raise ValueError(
            "in this release of transformers a gradient checkpoint runs a block's hooks twice: want a newer release, "
            "or no gradient checkpointing of the vision transformer"
        )
