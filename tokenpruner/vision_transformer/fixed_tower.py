"""Towers of one grid (ViT, DeiT, DINOv2, CLIP, SigLIP) that are given fewer patches, each with its own position.

Patches leave behind the embeddings, where positions have been added. Pictures that are left with as many patches run
together, those of other counts by themselves, so that no mask is needed and any attention works. Behind the tower every
patch has the features of the one that is seen in its place, in each of the hidden states: heads, poolers of patches and
projectors find the whole grid.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass, replace

import torch
from torch import nn

from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.models import vision_towers
from tokenpruner.models.overrides import forward_replaced
from tokenpruner.report.flops import block_flops
from tokenpruner.report.timing import Stopwatch
from tokenpruner.vision_transformer.cells import whole_cells
from tokenpruner.vision_transformer.tower_use import TowerUse

PIXELS = "pixel_values"


class Local(threading.local):
    """Of the pictures that this thread has in the tower, the tokens [G, n] that stay."""

    kept: torch.Tensor | None = None


class FixedTower:
    """The vision transformer below `module`, whose forward takes pixels and gives hidden states."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.tower = module, vision_towers.find(module)
        patches = self.tower.patches
        sides = {*patches.kernel_size, *patches.stride}
        if len(sides) != 1 or patches.padding not in ("valid", (0, 0)):
            raise ValueError(f"{type(module).__name__}: want square patches that do not overlap, got {patches}")
        self.side, self.local = sides.pop(), Local()

    @property
    def hooked(self) -> tuple[nn.Module, ...]:
        """Every module that its hooks are on."""
        return (self.module, getattr(self.tower.module, "embeddings"))  # noqa: B009

    @contextmanager
    def pruned(
        self, method: PixelMethod, acts: Callable[[], bool], report: Callable[[TowerUse], None]
    ) -> Iterator[None]:
        """While open, each pass in a thread where it `acts` sees what `method` leaves, and is told to `report`."""
        if method.resizes:
            raise ValueError(
                f"{type(self.module).__name__} takes pictures of one size, which cannot be scaled down: want a tower "
                "that takes any (Qwen-VL), or fewer tokens behind the tower, for example by Pool(keep_ratio=0.25)"
            )

        def run(original: Callable[..., object], given: dict[str, object]) -> object:
            return self._run(method, original, given, report)

        with ExitStack() as stack:
            stack.enter_context(forward_replaced(self.module, acts, run))
            embeddings: nn.Module = getattr(self.tower.module, "embeddings")  # noqa: B009
            stack.callback(embeddings.register_forward_hook(self._after_embeddings).remove)
            yield

    def _run(
        self,
        method: PixelMethod,
        original: Callable[..., object],
        given: dict[str, object],
        report: Callable[[TowerUse], None],
    ) -> object:
        pixels = given.get(PIXELS)
        extra = [name for name, value in given.items() if name != PIXELS and isinstance(value, torch.Tensor)]
        if not isinstance(pixels, torch.Tensor) or pixels.ndim != 4 or extra:
            got = f", got {', '.join(extra)}" if extra else ""
            raise ValueError(f"{type(self.module).__name__}: want {PIXELS} [B, C, H, W] and nothing beside{got}")
        selection, first = Stopwatch(pixels.device), self.tower.protected
        with selection.running(), torch.autocast(pixels.device.type, enabled=False):
            cells = whole_cells(pixels.detach(), self.side)
            source = method.checked_sources(cells)
            stays = source == torch.arange(source.shape[1], device=source.device)
            # pictures of as many patches, in order
            counts = stays.sum(1).tolist()
            groups = [[i for i, own in enumerate(counts) if own == n] for n in dict.fromkeys(counts)]
        outputs = []
        for pictures in groups:
            where = torch.tensor(pictures, device=pixels.device)
            own = stays[where]
            kept = own.nonzero()[:, 1].view(len(pictures), -1)
            head = torch.arange(first, device=kept.device).expand(len(pictures), -1)
            self.local.kept = torch.cat([head, first + kept], 1)
            try:
                output = original(**{**given, PIXELS: pixels[where]})
            finally:
                self.local.kept = None
            rank = (own.cumsum(1) - 1).gather(1, source[where])
            outputs.append(self._whole(output, torch.cat([head, first + rank], 1), kept.shape[1]))
        n_whole = [first + source.shape[1]] * len(counts)
        use = TowerUse(
            stays.flatten(),
            sum(block_flops(block, n) for block in self.tower.blocks for n in n_whole),
            sum(block_flops(block, first + n) for block in self.tower.blocks for n in counts),
            selection,
            tuple(source.shape),
            (cells.shape[1], cells.shape[2]),
        )
        report(use)
        return outputs[0] if len(outputs) == 1 else _together(outputs, groups)

    def _after_embeddings(self, module: nn.Module, args: tuple[object, ...], output: object) -> object:
        kept = self.local.kept
        if kept is None:
            return None
        if not isinstance(output, torch.Tensor) or output.ndim != 3 or output.shape[1] < kept.shape[1]:
            raise ValueError(f"{type(self.module).__name__}: want embeddings [B, N, D], got something else")
        return output.gather(1, kept[..., None].expand(-1, -1, output.shape[2]))

    def _whole(self, output: object, seen: torch.Tensor, n_kept: int) -> object:
        """The tower's output with a row for every patch: of token i that of `seen` [G, N]."""
        name, n_tokens = type(self.module).__name__, self.tower.protected + n_kept
        if not is_dataclass(output) or isinstance(output, type):
            raise ValueError(f"{name}: want return_dict=True while patches are left out")
        if getattr(output, "attentions", None) is not None:
            raise ValueError(f"{name}: want no output_attentions while patches are left out: they are of those left")

        def whole(value: object) -> object:
            if isinstance(value, tuple | list):
                return tuple(whole(each) for each in value)
            if isinstance(value, torch.Tensor) and value.ndim == 3 and value.shape[1] == n_tokens:
                return value.gather(1, seen[..., None].expand(-1, -1, value.shape[2]))
            return value

        return replace(output, **{each.name: whole(getattr(output, each.name)) for each in fields(output)})


def _together(outputs: Sequence[object], groups: Sequence[Sequence[int]]) -> object:
    """The outputs of groups of pictures as one, pictures in their order."""
    order = torch.tensor([picture for own in groups for picture in own]).argsort()

    def joined(values: Sequence[object]) -> object:
        one = values[0]
        if isinstance(one, tuple):
            return tuple(joined([value[place] for value in values]) for place in range(len(one)))  # type: ignore[index]
        if not isinstance(one, torch.Tensor):
            return one
        whole = torch.cat([value for value in values if isinstance(value, torch.Tensor)])
        return whole[order.to(one.device)]

    names = [each.name for each in fields(outputs[0])]  # type: ignore[arg-type]
    return replace(outputs[0], **{name: joined([getattr(own, name) for own in outputs]) for name in names})  # type: ignore[type-var]
