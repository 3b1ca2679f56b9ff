"""Any model of transformers' common structure, LLaVA and its kin.

One module has `get_image_features`, `get_placeholder_mask` and, below it, a text backbone. generate() of newer
releases encodes the images first and hands the features in as `mm_encoder_outputs`, so that pixels say nothing
about whether a pass has images: the placeholder mask does, for it is asked for exactly then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from tokenpruner.adapter import Adapter, Sighting
from tokenpruner.overrides import overridden

BACKBONES = ("language_model", "text_model")


class Generic(Adapter):
    """Found by structure, not by name: the outermost module that has the two methods and a text backbone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        merger, backbone = _parts(model)
        if merger is None or backbone is None:
            raise ValueError(f"{type(model).__name__} lacks the common structure of vision-language models")
        self.merger, self.backbone = merger, backbone

    @classmethod
    def matches(cls, model: nn.Module) -> bool:
        """True where the structure is there."""
        return None not in _parts(model)

    @contextmanager
    def watch(self, sighting: Sighting) -> Iterator[None]:
        """Listen to the placeholder mask and to the image features."""

        def before(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            sighting.clear()
            encoded = kwargs.get("mm_encoder_outputs")
            if isinstance(encoded, dict) and encoded.get("image") is not None:
                sighting.sizes = _sizes(encoded["image"])

        def features(original: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*args: object, **kwargs: object) -> object:
                output = original(*args, **kwargs)
                sighting.sizes = _sizes(output)
                return output

            return wrapped

        def placeholders(original: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*args: object, **kwargs: object) -> object:
                mask = original(*args, **kwargs)
                if not isinstance(mask, torch.Tensor):
                    raise ValueError(f"{type(self.merger).__name__} mixes kinds of visual tokens: not supported")
                # [B, L, 1] or [B, L, D], the same in the last dimension
                sighting.visual = mask if mask.ndim == 2 else mask[..., 0]
                return mask

            return wrapped

        with ExitStack() as stack:
            stack.callback(self.merger.register_forward_pre_hook(before, with_kwargs=True).remove)
            # generate() reads the signature of get_image_features
            stack.enter_context(overridden(self.merger, "get_image_features", _same_signature(features)))
            stack.enter_context(overridden(self.merger, "get_placeholder_mask", _same_signature(placeholders)))
            yield

    def grid(self, size: int) -> tuple[int, int] | None:
        """A square, where the count is one."""
        side = math.isqrt(size)
        return (side, side) if side * side == size else None


def _same_signature(
    wrap: Callable[[Callable[..., object]], Callable[..., object]],
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    import functools

    return lambda original: functools.wraps(original)(wrap(original))


def _parts(model: nn.Module) -> tuple[nn.Module | None, nn.Module | None]:
    for module in model.modules():
        if hasattr(module, "get_placeholder_mask") and hasattr(module, "get_image_features"):
            own = [getattr(module, name) for name in BACKBONES if isinstance(getattr(module, name, None), nn.Module)]
            return module, own[0] if own else None
    return None, None


def _sizes(output: object) -> list[int] | None:
    """Tokens of each image, from features [images, N, D] or one [N, D] an image; None for any other layout."""
    features = getattr(output, "pooler_output", output)
    if isinstance(features, torch.Tensor) and features.ndim == 3:
        return [features.shape[1]] * len(features)
    if isinstance(features, list | tuple) and all(isinstance(x, torch.Tensor) and x.ndim == 2 for x in features):
        return [len(x) for x in features]
    return None
