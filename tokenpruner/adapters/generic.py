"""Any model of transformers' common structure, LLaVA and its kin.

One module has `get_image_features`, `get_placeholder_mask` and, below it, a text backbone. generate() of newer
releases encodes the images first and hands the features in as `mm_encoder_outputs`, so that pixels say nothing
about whether a pass has images: the placeholder mask does, for it is asked for exactly then.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import nn

from tokenpruner.models.adapter import Adapter, Encoded, VisualTokenRecorder
from tokenpruner.models.forward_hooks import before_forward
from tokenpruner.models.image_layouts import Grid, layouts_of, square, with_last_newline
from tokenpruner.models.overrides import Wrap, method_wrapped

BACKBONES = ("language_model", "text_model")
KINDS = ("image", "video")


class Generic(Adapter):
    """Found by structure, not by name: the outermost module that has the two methods and a text backbone."""

    # the method that knows where image tokens stand
    LANDMARK = "get_placeholder_mask"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        merger, backbone = _parts(model, self.LANDMARK)
        if merger is None or backbone is None:
            raise ValueError(f"{type(model).__name__} lacks the common structure of vision-language models")
        if merger is model and "generate" in vars(type(model)):
            raise ValueError(
                f"{type(model).__name__} has a generate() of its own, which goes past its forward pass: not supported"
            )
        self.merger, self.backbone = merger, backbone

    @classmethod
    def matches(cls, model: nn.Module) -> bool:
        """True where the structure is there."""
        return None not in _parts(model, cls.LANDMARK)

    @contextmanager
    def watch(self, recorder: VisualTokenRecorder) -> Iterator[None]:
        """Listen to the placeholder masks and to the features of images and videos."""

        def before(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            recorder.clear()
            encoded = kwargs.get("mm_encoder_outputs")
            for kind, output in encoded.items() if isinstance(encoded, dict) else ():
                if output is not None:
                    recorder.layouts[kind] = recorder.memory.of(output, self._newline())

        with ExitStack() as stack:
            stack.callback(before_forward(self.merger, before).remove)
            if recorder.reader is not None:
                stack.enter_context(recorder.reader.watch())
            for kind in KINDS:
                # generate() reads the signature of get_image_features
                if hasattr(self.merger, f"get_{kind}_features"):
                    stack.enter_context(
                        method_wrapped(self.merger, f"get_{kind}_features", self._measured(recorder, kind))
                    )
            stack.enter_context(self.placeholders(recorder))
            yield

    def placeholders(self, recorder: VisualTokenRecorder) -> AbstractContextManager[None]:
        """Note each placeholder mask that is made."""
        return method_wrapped(self.merger, self.LANDMARK, _noted(recorder))

    def grid(self, size: int) -> Grid | None:
        """A square, where the count is one."""
        return next(iter(square(size)), None)

    def _newline(self) -> torch.Tensor | None:
        """What stands among the patches at the end of a line, if the model has such a token."""
        newline = getattr(self.merger, "image_newline", None)
        return newline.detach() if isinstance(newline, torch.Tensor) else None

    def _measured(self, recorder: VisualTokenRecorder, kind: str) -> Wrap:
        """Features whose layouts are noted."""

        def wrap(original: Callable[..., object]) -> Callable[..., object]:
            signature = inspect.signature(original)

            @functools.wraps(original)
            def wrapped(*args: object, **kwargs: object) -> object:
                if recorder.is_encoding:
                    return original(*args, **kwargs)

                def encode() -> object:
                    recorder.is_encoding = True
                    try:
                        return original(*args, **kwargs)
                    finally:
                        recorder.is_encoding = False

                output = encode()
                given = signature.bind(*args, **kwargs).arguments
                given = {**given, **given.get("kwargs", {})}
                found = layouts_of(output, given, self._newline(), is_video=kind == "video")
                if recorder.reader is not None:
                    output, found = recorder.reader.read(Encoded(given, output, encode), found)
                recorder.layouts[kind] = found
                recorder.memory.note(output, found)
                return output

            return wrapped

        return wrap


def _noted(recorder: VisualTokenRecorder) -> Wrap:
    """Placeholder masks that are noted; of several, those are meant whose features come along."""

    def wrap(original: Callable[..., object]) -> Callable[..., object]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapped(*args: object, **kwargs: object) -> object:
            output = original(*args, **kwargs)
            given = signature.bind(*args, **kwargs).arguments
            # image first, then video, then others such as audio, which are not visual
            for kind, mask in zip(KINDS, output if isinstance(output, tuple) else (output,), strict=False):
                if isinstance(mask, torch.Tensor):
                    # [B, L, 1] or [B, L, D], the same in the last dimension
                    recorder.masks[kind] = mask if mask.ndim == 2 else mask[..., 0]
                features = given.get(f"{kind}_features")
                if features is not None:
                    recorder.layouts[kind] = with_last_newline(recorder.layouts.get(kind), features)
            return output

        return wrapped

    return wrap


def _parts(model: nn.Module, landmark: str) -> tuple[nn.Module | None, nn.Module | None]:
    for module in model.modules():
        if hasattr(module, landmark) and hasattr(module, "get_image_features"):
            own = [getattr(module, name) for name in BACKBONES if isinstance(getattr(module, name, None), nn.Module)]
            return module, _headless(own[0]) if own else None
    return None, None


def _headless(language_model: nn.Module) -> nn.Module:
    """The decoder of a language model that has its head with it."""
    inner = getattr(language_model, "model", None)
    return inner if isinstance(inner, nn.Module) and hasattr(language_model, "lm_head") else language_model
