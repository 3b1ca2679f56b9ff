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
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from prunekernels.attention_received import attention_received
from tokenpruner.models.adapter import Encoded
from tokenpruner.models.first_tokens import first_tokens
from tokenpruner.models.image_layouts import Layout
from tokenpruner.models.marked_tower import Groups, MarkedTower
from tokenpruner.models.overrides import attribute_replaced, method_wrapped
from tokenpruner.models.patch_order import merged_patches, window_order
from tokenpruner.models.tower_reading import TowerNeed, TowerReading
from tokenpruner.models.transformers_api import AttentionInterface, attention_override, looks_up_attention

NAME = "prunekit_tower"
PACKING = "pack_image_features"
# takes the patches of frames [F, P, D] and averages neighbours (videos of LLaVA-OneVision)
POOLING = "apply_pooling"


class Calls(threading.local):
    """What the pass of this thread has shown: readings of its sequences, and how views are packed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget them."""
        self.readings: list[TowerReading] = []
        # patches of each sequence
        self.lengths: list[int] = []
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
        # the tower as the model calls it, and the part of it that holds the blocks
        outside = merger.get_submodule(path.partition(".")[0])
        self.tower_output = MarkedTower([*dict.fromkeys((outside, self.tower))], self.n_first)
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
            stack.enter_context(self.tower_output.watch())
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
        if mask is not None and (self.has_class or not isinstance(mask, torch.Tensor)):
            kind = type(self.merger).__name__
            raise ValueError(f"the vision tower of {kind} masks patches from its class token, which cannot be read")
        q, k = q.detach(), k.detach()
        first, found = self.n_first, {}
        if "class_attention" in self.needs:
            if self.has_class:
                own = (q[:, :, :1].float() @ k.float().transpose(2, 3) * scaling).softmax(-1).mean(1)[:, 0]
            elif isinstance(mask, torch.Tensor):
                own = _received_masked(q, k, mask, scaling)
            else:
                own = attention_received(q.contiguous(), k.contiguous(), scale=scaling).mean(1) / q.shape[2]
            found["class_attention"] = own[:, first:]
        if "joint_attention" in self.needs:
            scores = torch.einsum("bhd,bhnd->bn", q[:, :, 0].float(), k.float())
            found["joint_attention"] = (scores / math.sqrt(q.shape[1] * q.shape[3])).softmax(-1)[:, first:]
        if "keys" in self.needs:
            found["keys"] = k[:, :, first:].float().transpose(1, 2)
        self.calls.lengths += [q.shape[2] - first] * len(q)
        self.calls.readings.append(TowerReading(**found).map(lambda own: own.flatten(0, 1)))

    def read(self, encoded: Encoded, layouts: Sequence[Layout] | None) -> tuple[object, list[Layout]]:
        """The output as it is and `layouts` with the readings of their tokens; what was noted is forgotten.

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
            rows = self._of_tokens(values, layouts, encoded)
            told = zip(layouts, rows, strict=True)
            return encoded.output, [replace(layout, reading=_taken_apart(own, widths)) for layout, own in told]
        finally:
            self.forget()

    def forget(self) -> None:
        """Hold nothing more of this thread."""
        self.calls.clear()
        self.tower_output.forget()

    def _of_tokens(self, values: torch.Tensor, layouts: Sequence[Layout], encoded: Encoded) -> Sequence[torch.Tensor]:
        """`values` [T, W] of all patches in the order of the tower, for each image those of its tokens [N, W]."""
        calls, sizes, given = self.calls, [layout.size for layout in layouts], encoded.given
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
        merge = merged_patches(self.tower, given)
        order = window_order(self.tower, given)
        if order is not None and len(order) * merge == len(values):
            # the order is one of groups
            values = values.unflatten(0, (-1, merge))[order.argsort().to(values.device)].flatten(0, 1)
        if any(layout.newlines for layout in layouts):
            raise self._unknown(len(values), n_tokens)
        if merge > 1 and len(values) == n_tokens * merge:
            return values.unflatten(0, (-1, merge)).mean(1).split(sizes)
        grouped = self._grouped(values, layouts, encoded)
        if grouped is None:
            raise self._unknown(len(values), n_tokens)
        return grouped.split(sizes)

    def _grouped(self, values: torch.Tensor, layouts: Sequence[Layout], encoded: Encoded) -> torch.Tensor | None:
        """`values` [T, W] of patches, those of each token averaged; None where it is not known which these are."""
        groups = self.tower_output.groups(Groups.guesses(self.calls.lengths, layouts), encoded.again)
        return None if groups is None else groups.means(values)

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


def _received_masked(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor, scaling: float) -> torch.Tensor:
    """The mean over heads, and over the tokens that may see it, of what they read from each token; float32 [B, N].

    `mask` [B or 1, 1, N or 1, N] is True, or 0, where a query sees a key. A token that does not see itself is padding.
    """
    allowed = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    allowed = allowed[:, 0].expand(len(q), q.shape[2], -1)
    real = allowed.diagonal(dim1=1, dim2=2)
    received = torch.zeros(real.shape, device=q.device)
    # one head at a time, so that one matrix is held
    for head in range(q.shape[1]):
        scores = q[:, head].float() @ k[:, head].float().mT * scaling
        weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1).nan_to_num()
        received += (weights * real[..., None]).sum(1) / q.shape[1]
    return received / (allowed & real[..., None]).sum(1).clamp(min=1)


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


def _taken_apart(values: torch.Tensor, widths: dict[str, torch.Size]) -> TowerReading:
    parts = values.split([max(1, width.numel()) for width in widths.values()], 1)
    return TowerReading(
        **{
            name: own[:, 0] if not width else own.unflatten(1, width)
            for (name, width), own in zip(widths.items(), parts, strict=True)
        }
    )
