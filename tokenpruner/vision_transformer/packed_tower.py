"""Towers that take pictures of any size, packed patches and the grid of each (Qwen2-VL and its kin), given fewer.

Pictures that are scaled down go in as smaller ones; their features come out at the places that `entered`, zeros at the
others. Cells that leave go behind the patch embeddings: before each block the rows of tokens, the rotary positions of
their own places and the ends of sequences and windows are those of the patches that are left. Behind the last block,
and wherever features are taken before, every cell has what stands in for it, so that mergers find whole pictures.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import nn
from torch.nn.functional import pad

from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.models.forward_hooks import before_forward
from tokenpruner.models.overrides import forward_replaced
from tokenpruner.models.patch_order import window_order
from tokenpruner.models.transformers_api import Kwargs, checkpoint_reruns_hooks
from tokenpruner.report.timing import Stopwatch
from tokenpruner.vision_transformer.cells import PatchShape, packed_cells, scaled, spread_places
from tokenpruner.vision_transformer.packed_structure import PER_BLOCK, TAKES, block_flops, is_packed, pairs, tower_flops
from tokenpruner.vision_transformer.tower_use import TowerUse

Args = tuple[object, ...]
Cut = TypeVar("Cut")
FEATURES, LEVELS = "pooler_output", "deepstack_features"


@dataclass
class PackedPass:
    """One pass of the tower that leaves cells out, in the order of its blocks.

    `rows` int64 [P] are the patches that stay, `source` [S] says for each patch which of those is seen in its place.
    """

    stays: torch.Tensor
    rows: torch.Tensor
    source: torch.Tensor
    # what blocks were given, and the same for the patches that stay
    cut: dict[int, tuple[object, object]] = field(default_factory=dict)
    flops: list[int] = field(default_factory=lambda: [0, 0])


class Local(threading.local):
    """The pass that runs in this thread."""

    current: PackedPass | None = None


class PackedTower:
    """The tower `module`, told by its structure."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.blocks: tuple[nn.Module, ...] = tuple(getattr(module, "blocks"))  # noqa: B009
        self.merge = int(getattr(module, "spatial_merge_size"))  # noqa: B009
        self.local = Local()

    @classmethod
    def below(cls, merger: nn.Module, backbone: nn.Module) -> PackedTower | None:
        """The one such tower below `merger` and outside of `backbone`; None where there is none."""
        inside = set(backbone.modules())
        found = [module for module in merger.modules() if module not in inside and is_packed(module)]
        return cls(found[0]) if len(found) == 1 else None

    @property
    def hooked(self) -> tuple[nn.Module, ...]:
        """Every module that its hooks are on."""
        return (self.module, *self.blocks, *self._takers())

    def _takers(self) -> list[nn.Module]:
        """What takes features between blocks (DeepStack)."""
        lists = [child for child in self.module.children() if isinstance(child, nn.ModuleList)]
        return [module for own in lists for module in own if module not in self.blocks]

    def patch_shape(self) -> PatchShape:
        """Raises ValueError where it is not known what a row of pixels holds."""
        embed = getattr(self.module, "patch_embed", None)
        names = ("in_channels", "temporal_patch_size", "patch_size")
        channels, depth, side = (getattr(embed, name, None) for name in names)
        if not isinstance(channels, int) or not isinstance(depth, int) or not isinstance(side, int):
            raise ValueError(f"{type(self.module).__name__} does not say what its patches hold: no picture is scaled")
        return PatchShape(channels, depth, side, self.merge)

    @contextmanager
    def pruned(
        self, method: PixelMethod, acts: Callable[[], bool], report: Callable[[TowerUse], None]
    ) -> Iterator[None]:
        """While open, each pass in a thread where it `acts` sees what `method` leaves, and is told to `report`."""
        if method.resizes:
            # refused before anything is changed
            self.patch_shape()

        def run(original: Callable[..., object], given: Kwargs) -> object:
            changed = self._resized if method.resizes else self._without_repeats
            output, use = changed(method, original, given)
            report(use)
            return output

        with ExitStack() as stack:
            stack.enter_context(forward_replaced(self.module, acts, run))
            if not method.resizes:
                for number, block in enumerate(self.blocks):
                    stack.callback(before_forward(block, functools.partial(self._before_block, number)).remove)
                # ahead of the hooks that collect hidden states
                last = self.blocks[-1].register_forward_hook(self._after_last, prepend=True)
                stack.callback(last.remove)
                for module in self._takers():
                    stack.callback(before_forward(module, self._before_taker).remove)
            yield

    def _resized(self, method: PixelMethod, original: Callable[..., object], given: Kwargs) -> tuple[object, TowerUse]:
        patches, grids = self._pictures(given)
        selection, shape = Stopwatch(patches.device), self.patch_shape()
        with selection.running(), torch.autocast(patches.device.type, enabled=False):
            parts, places, sizes, first = [], [], [], 0
            for own, (frames, height, width) in zip(self._split(patches, grids), grids.tolist(), strict=True):
                grid = (height // self.merge, width // self.merge)
                smaller = method.checked_resized(grid)
                parts.append(own if smaller == grid else scaled(own, frames, grid, smaller, shape))
                for _ in range(frames):
                    places.append(first + spread_places(grid, smaller))
                    first += grid[0] * grid[1]
                sizes.append([frames, smaller[0] * self.merge, smaller[1] * self.merge])
            made = torch.tensor(sizes, dtype=grids.dtype, device=grids.device)
            where = torch.cat(places).to(patches.device)
            entered = torch.zeros(first, dtype=torch.bool, device=patches.device)
            entered[where] = True
            order = window_order(self.module, {TAKES[1]: grids})
            entered = entered if order is None else entered[order.to(entered.device)]
        output = original(**{**given, TAKES[0]: torch.cat(parts), TAKES[1]: made})
        for name in (FEATURES, LEVELS):
            value = getattr(output, name, None)
            if isinstance(value, torch.Tensor):
                setattr(output, name, _placed(value, where, first))
            elif isinstance(value, list | tuple):
                setattr(output, name, [_placed(level, where, first) for level in value])
        flops = [tower_flops(self.module, one) for one in (grids, made)]
        return output, TowerUse(entered.repeat_interleave(self.merge**2), flops[0], flops[1], selection)

    def _without_repeats(
        self, method: PixelMethod, original: Callable[..., object], given: Kwargs
    ) -> tuple[object, TowerUse]:
        patches, grids = self._pictures(given)
        selection, unit = Stopwatch(patches.device), self.merge * self.merge
        with selection.running(), torch.autocast(patches.device.type, enabled=False):
            sources, first = [], 0
            for own, (frames, height, width) in zip(self._split(patches, grids), grids.tolist(), strict=True):
                grid = (height // self.merge, width // self.merge)
                found = method.checked_sources(packed_cells(own.detach(), frames, grid, self.merge))
                offsets = torch.arange(frames, device=found.device)[:, None] * found.shape[1]
                sources.append((found + offsets + first).flatten())
                first += found.numel()
            source = torch.cat(sources)
            order = window_order(self.module, {TAKES[1]: grids})
            if order is not None:
                # the blocks see cells window by window
                order = order.to(source.device)
                source = order.argsort()[source[order]]
            cells = torch.arange(len(source), device=source.device)
            stays = (source == cells).repeat_interleave(unit)
            rank = stays.cumsum(0) - 1
            inside = torch.arange(unit, device=source.device)
            seen = rank[(source[:, None] * unit + inside).flatten()]
            current = PackedPass(stays, stays.nonzero().flatten(), seen)
        self.local.current = current
        try:
            output = original(**given)
        finally:
            self.local.current = None
        return output, TowerUse(stays, current.flops[0], current.flops[1], selection)

    def _pictures(self, given: Kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        patches, grids = (given.get(name) for name in TAKES)
        if not isinstance(patches, torch.Tensor) or not isinstance(grids, torch.Tensor) or patches.ndim != 2:
            raise ValueError(
                f"{type(self.module).__name__}: want patches [S, V] and grids [n, 3] as its processor makes"
            )
        extra = [name for name, value in given.items() if name not in TAKES and isinstance(value, torch.Tensor)]
        if extra or len(patches) != int(grids.prod(1).sum()):
            got = f"got {', '.join(extra) or f'{len(patches)} patches'}"
            raise ValueError(f"{type(self.module).__name__}: want all patches of the grids and nothing more, {got}")
        if any(checkpoint_reruns_hooks(block) for block in self.blocks):
            raise ValueError(
                "in this release of transformers a gradient checkpoint runs a block's hooks twice: want a newer "
                "release, or no gradient checkpointing of the vision tower"
            )
        return patches, grids

    def _split(self, patches: torch.Tensor, grids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return patches.split(grids.prod(1).tolist())

    def _before_block(self, number: int, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        current = self.local.current
        if current is None:
            return None
        hidden = args[0] if args else kwargs.get(TAKES[0])
        ends, turns = (kwargs.get(name) for name in PER_BLOCK)
        n_patches, n_left = len(current.stays), len(current.rows)
        if not isinstance(hidden, torch.Tensor) or not isinstance(ends, torch.Tensor) or not isinstance(turns, tuple):
            raise ValueError(f"{type(self.module).__name__}: want blocks called with {' and '.join(PER_BLOCK)} by name")
        if len(hidden) != (n_patches if number == 0 else n_left):
            raise ValueError(f"{type(self.module).__name__}: want {n_patches} patches [S, D], got {[*hidden.shape]}")
        left, pairs = self._cut(current, ends, lambda: _ends_left(ends, current.stays))
        for which, (n, n_pairs) in enumerate(zip((n_patches, n_left), pairs, strict=True)):
            current.flops[which] += block_flops(module, n, n_pairs)
        if n_left == n_patches:
            return None
        turned = self._cut(current, turns, lambda: tuple(each[current.rows] for each in turns))
        changed = {PER_BLOCK[0]: left, PER_BLOCK[1]: turned}
        hidden = hidden[current.rows] if number == 0 else hidden
        kwargs = {**kwargs, **changed}
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, TAKES[0]: hidden})

    @staticmethod
    def _cut(current: PackedPass, whole: object, make: Callable[[], Cut]) -> Cut:
        """What is left of an argument, made once for all the blocks that are given the same."""
        if id(whole) not in current.cut:
            # the argument is held, so that no other one gets its id
            current.cut[id(whole)] = (whole, make())
        return current.cut[id(whole)][1]  # type: ignore[return-value]

    def _after_last(self, module: nn.Module, args: Args, output: object) -> object:
        current = self.local.current
        return None if current is None else self._whole(current, output)

    def _before_taker(self, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        current = self.local.current
        if current is None or not args:
            return None
        return (self._whole(current, args[0]), *args[1:]), kwargs

    def _whole(self, current: PackedPass, hidden: object) -> object:
        """A row for every patch, that of the one that is seen in its place."""
        if not isinstance(hidden, torch.Tensor) or len(hidden) not in (len(current.rows), len(current.stays)):
            raise ValueError(f"{type(self.module).__name__}: want blocks that return [P, D], got something else")
        return hidden[current.source] if len(hidden) == len(current.rows) else hidden


def _ends_left(ends: torch.Tensor, stays: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Where sequences end once only patches that stay are counted; those of which none is left are no more.

    Second: how many pairs of patches see each other, of all and of those that stay.
    """
    counts = pad(stays.cumsum(0), (1, 0))[ends.long().to(stays.device)]
    left = counts.unique_consecutive().to(ends)
    return left, [pairs(ends), pairs(left)]


def _placed(features: torch.Tensor, where: torch.Tensor, n_cells: int) -> torch.Tensor:
    """`features` [n, D] at the places `where` of `n_cells`, zeros at the others."""
    if len(features) != len(where):
        raise ValueError(f"want features of {len(where)} cells of the vision tower, got {[*features.shape]}")
    return features.new_zeros(n_cells, *features.shape[1:]).index_copy(0, where, features)
