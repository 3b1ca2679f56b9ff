"""Reads attention and keys of one block of a vision tower while it encodes (`tower_reading` says which).

The block's attention looks up another attention function for a while, one that notes queries and keys and then calls
the one that it would have called: nothing is computed twice, and no attention matrix is made. Only what a method
asks for is kept, in float32, and for as long as the features of the images live.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import nn
from transformers import vision_utils
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from prunekernels.attention_received import attention_received
from tokenpruner.models.first_tokens import first_tokens
from tokenpruner.models.image_layouts import Given, Layout
from tokenpruner.models.overrides import attribute_replaced, method_wrapped
from tokenpruner.models.tower_reading import TowerNeed, TowerReading
from tokenpruner.models.transformers_api import AttentionInterface, attention_override, looks_up_attention

NAME = "prunekit_tower"
PACKING = "pack_image_features"
# takes the patches of frames [F, P, D] and averages neighbours (videos of LLaVA-OneVision)
POOLING = "apply_pooling"
# of transformers' vision_utils: tells which patches stand in which window
WINDOWS = "get_vision_window_index"


class Calls(threading.local):
    """What the pass of this thread has shown: readings of its sequences, and how views are packed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget them."""
        self.readings: list[TowerReading] = []
        self.packing: Callable[[list[torch.Tensor], torch.Tensor], list[torch.Tensor]] | None = None
        self.views: list[torch.Size] = []
        # how the patches of each frame are pooled, and how many they are
        self.pooling: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.n_pooled = 0


class TowerReader:
    """Reads block `layer` of the tower below `merger`, outside of `backbone`."""

    def __init__(self, merger: nn.Module, backbone: nn.Module, needs: frozenset[TowerNeed], layer: int) -> None:
        self.merger, self.needs = merger, needs
        path, blocks = _blocks(merger, backbone)
        if not -len(blocks) <= layer < len(blocks):
            raise ValueError(f"{path} of {type(merger).__name__} has {len(blocks)} blocks, got tower_layer={layer}")
        self.attention, self.tower = blocks[layer], merger.get_submodule(path.rpartition(".")[0])
        self.n_first, self.has_class = _first_tokens(merger, path)
        if "joint_attention" in needs and not self.has_class:
            raise ValueError(
                f"the vision tower of {type(merger).__name__} has no class token, whose attention is asked"
            )
        self.calls = Calls()

    @classmethod
    def of(cls, merger: nn.Module, backbone: nn.Module, needs: frozenset[TowerNeed], layer: int) -> TowerReader | None:
        """A reader where anything is needed."""
        return cls(merger, backbone, needs, layer) if needs else None

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While open, each pass of the tower leaves its readings, whichever thread runs it."""
        config = copy.copy(self.attention.config)
        original = config._attn_implementation  # type: ignore[union-attr]
        vars(config).update(attention_override(NAME))
        AttentionInterface.register(NAME, _noting)
        with ExitStack() as stack:
            stack.enter_context(attribute_replaced(self.attention, "_prunekit_reader", (self, original)))
            stack.enter_context(attribute_replaced(self.attention, "config", config))
            stack.enter_context(self.arranged())
            yield

    @contextmanager
    def arranged(self) -> Iterator[None]:
        """While open, it is noted how patches are packed and pooled."""
        with ExitStack() as stack:
            for name, wrap in ((PACKING, self._packed), (POOLING, self._pooled)):
                if hasattr(self.merger, name):
                    stack.enter_context(method_wrapped(self.merger, name, wrap))
            yield

    def note(self, q: torch.Tensor, k: torch.Tensor, mask: object, scaling: float) -> None:
        """Queries and keys [B, H, N, D] of B sequences, each with its first tokens."""
        if mask is not None:
            raise ValueError(
                f"the vision tower of {type(self.merger).__name__} masks patches, which cannot be read yet"
            )
        q, k = q.detach(), k.detach()
        first, found = self.n_first, {}
        if "class_attention" in self.needs:
            if self.has_class:
                own = (q[:, :, :1].float() @ k.float().transpose(2, 3) * scaling).softmax(-1).mean(1)[:, 0]
            else:
                own = attention_received(q.contiguous(), k.contiguous(), scale=scaling).mean(1) / q.shape[2]
            found["class_attention"] = own[:, first:]
        if "joint_attention" in self.needs:
            scores = torch.einsum("bhd,bhnd->bn", q[:, :, 0].float(), k.float())
            found["joint_attention"] = (scores / math.sqrt(q.shape[1] * q.shape[3])).softmax(-1)[:, first:]
        if "keys" in self.needs:
            found["keys"] = k[:, :, first:].float().transpose(1, 2)
        self.calls.readings.append(TowerReading(**found).map(lambda own: own.flatten(0, 1)))

    def attached(self, layouts: Sequence[Layout] | None, given: Given) -> list[Layout]:
        """`layouts` with the readings of their tokens, and what was noted forgotten.

        Raises ValueError where it cannot be told which patches became which token.
        """
        calls = self.calls
        try:
            kind = type(self.merger).__name__
            if not calls.readings or layouts is None:
                raise ValueError(f"{kind}: the attention of its vision tower was not seen")
            parts = {
                name: torch.cat([getattr(own, name) for own in calls.readings])
                for name, own in vars(calls.readings[0]).items()
                if own is not None
            }
            widths = {name: own.shape[1:] for name, own in parts.items()}
            values = torch.cat([own.flatten(1) if own.ndim > 1 else own[:, None] for own in parts.values()], 1)
            rows = self._of_tokens(values, layouts, given)
            return [
                replace(layout, reading=_taken_apart(own, widths)) for layout, own in zip(layouts, rows, strict=True)
            ]
        finally:
            calls.clear()

    def _of_tokens(self, values: torch.Tensor, layouts: Sequence[Layout], given: Given) -> Sequence[torch.Tensor]:
        """`values` [T, W] of all patches in the order of the tower, for each image those of its tokens [N, W]."""
        calls, sizes = self.calls, [layout.size for layout in layouts]
        if calls.packing is not None:
            n_patches = sum(size[0] * size[1] for size in calls.views)
            if n_patches == len(values):
                views = values.split([size[0] * size[1] for size in calls.views])
                shaped = [own.unflatten(0, size[:2]) for own, size in zip(views, calls.views, strict=True)]
                return calls.packing(shaped, values.new_zeros(values.shape[1]))
            raise self._unknown(len(values), n_patches)
        n_tokens = sum(size - len(layout.newlines) for size, layout in zip(sizes, layouts, strict=True))
        if calls.pooling is not None and len(values) % calls.n_pooled == 0:
            pooled = calls.pooling(values.unflatten(0, (-1, calls.n_pooled))).flatten(0, 1)
            if len(pooled) != n_tokens:
                raise self._unknown(len(values), n_tokens)
            parts = pooled.split([size - len(layout.newlines) for size, layout in zip(sizes, layouts, strict=True)])
            return [layout.with_newlines(own) for layout, own in zip(layouts, parts, strict=True)]
        merge = _merged(self.tower, given)
        order = window_order(self.tower, given)
        if order is not None and len(order) * merge == len(values):
            # the order is one of groups
            values = values.unflatten(0, (-1, merge))[order.argsort().to(values.device)].flatten(0, 1)
        if len(values) != n_tokens * merge or any(layout.newlines for layout in layouts):
            raise self._unknown(len(values), n_tokens)
        return values.unflatten(0, (-1, merge)).mean(1).split(sizes)

    def _unknown(self, n_patches: int, n_tokens: int) -> ValueError:
        kind = type(self.merger).__name__
        return ValueError(
            f"{kind} makes {n_tokens} visual tokens of {n_patches} patches, and which of which is not known: methods "
            "that read the vision tower cannot serve it, those that read embeddings can, such as divprune"
        )

    def _pooled(self, original: Callable[..., object]) -> Callable[..., object]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapped(*args: object, **kwargs: object) -> object:
            given = [*signature.bind(*args, **kwargs).arguments.values()]
            self.calls.pooling, self.calls.n_pooled = original, given[0].shape[1]  # type: ignore[assignment]
            return original(*args, **kwargs)

        return wrapped

    def _packed(self, original: Callable[..., object]) -> Callable[..., object]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapped(*args: object, **kwargs: object) -> object:
            given = dict(signature.bind(*args, **kwargs).arguments)
            features = list(given["image_features"])

            def again(values: list[torch.Tensor], newline: torch.Tensor) -> list[torch.Tensor]:
                known = None if given.get("image_newline") is None else newline
                packed = original(**(given | {"image_features": values, "image_newline": known}))
                return list(packed[0] if isinstance(packed, tuple) else packed)  # type: ignore[arg-type]

            self.calls.packing, self.calls.views = again, [own.shape for own in features]
            return original(*args, **kwargs)

        return wrapped


def _noting(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: object,
    scaling: float | None = None,
    **kwargs: object,
) -> object:
    """An attention function: notes queries and keys, then calls the one that the module had."""
    reader, original = module._prunekit_reader  # type: ignore[misc]
    reader.note(query, key, attention_mask, query.shape[-1] ** -0.5 if scaling is None else scaling)
    eager = inspect.unwrap(type(module).forward).__globals__.get("eager_attention_forward")
    function = ALL_ATTENTION_FUNCTIONS.get_interface(original, eager)
    return function(module, query, key, value, attention_mask, scaling=scaling, **kwargs)


def _blocks(merger: nn.Module, backbone: nn.Module) -> tuple[str, list[nn.Module]]:
    """The one list of a vision tower's blocks: its path, and the attention of each block."""
    inside = set(backbone.modules())
    found = []
    for path, module in merger.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) and module not in inside:
            own = [[part for part in block.modules() if looks_up_attention(part)] for block in module]
            if all(len(parts) == 1 for parts in own):
                found.append((path, [parts[0] for parts in own]))
    visual = [entry for entry in found if any(word in entry[0] for word in ("vision", "visual", "image"))]
    if len(visual) != 1:
        raise ValueError(
            f"{type(merger).__name__}: want one vision tower whose blocks each take their attention function from "
            f"transformers' AttentionInterface, got {len(visual)}"
        )
    return visual[0]


def _first_tokens(merger: nn.Module, path: str) -> tuple[int, bool]:
    """How many tokens stand before the patches of the tower whose blocks are at `path`, and whether one is a class."""
    names = path.split(".")
    for depth in range(len(names) - 1, 0, -1):
        embeddings = getattr(merger.get_submodule(".".join(names[:depth])), "embeddings", None)
        if isinstance(embeddings, nn.Module):
            return first_tokens(embeddings, type(merger).__name__)
    return 0, False


def _merged(tower: nn.Module, given: Given) -> int:
    """How many patches, neighbours in the tower's order, become one token."""
    if _grid_thw(given) is None:
        return 1
    sides = [own for own in (getattr(module, "spatial_merge_size", None) for module in tower.modules()) if own]
    return int(sides[0]) ** 2 if sides else 1


def window_order(tower: nn.Module, given: Given) -> torch.Tensor | None:
    """The order in which a tower puts groups of patches, window by window; None where it leaves them.

    Raises ValueError where it makes windows in a way that is not known.
    """
    if WINDOWS not in vars(sys.modules[type(tower).__module__]):
        return None
    sizes = {name: getattr(tower, name, None) for name in ("spatial_merge_size", "window_size", "patch_size")}
    if None in sizes.values() or not hasattr(tower, "fullatt_block_indexes"):
        raise ValueError(f"{type(tower).__name__} puts patches into windows, and which is where is not known")
    order: torch.Tensor = getattr(vision_utils, WINDOWS)(_grid_thw(given), **sizes)[0]
    return order


def _grid_thw(given: Given) -> object:
    """Frames, rows and columns of each picture; None where the model takes none."""
    return next((value for name, value in given.items() if name.endswith("grid_thw") and value is not None), None)


def _taken_apart(values: torch.Tensor, widths: dict[str, torch.Size]) -> TowerReading:
    parts = values.split([max(1, width.numel()) for width in widths.values()], 1)
    return TowerReading(
        **{
            name: own[:, 0] if not width else own.unflatten(1, width)
            for (name, width), own in zip(widths.items(), parts, strict=True)
        }
    )
