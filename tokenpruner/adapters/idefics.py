"""Idefics 2 and 3: no placeholder mask; `inputs_merger` puts the image features where the image tokens stand."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn

from tokenpruner.adapters.generic import Generic
from tokenpruner.models.adapter import VisualTokenRecorder
from tokenpruner.models.overrides import method_wrapped


class Idefics(Generic):
    """Like any other but for where the image tokens are told."""

    LANDMARK = "inputs_merger"

    def placeholders(self, recorder: VisualTokenRecorder) -> AbstractContextManager[None]:
        """Note the image tokens of each merge."""

        def wrap(original: Callable[..., object]) -> Callable[..., object]:
            signature = inspect.signature(original)

            @functools.wraps(original)
            def wrapped(*args: object, **kwargs: object) -> object:
                given = signature.bind(*args, **kwargs).arguments
                recorder.masks["image"] = _stands(self.merger, given["input_ids"], given["inputs_embeds"])
                recorder.layouts.setdefault("image", None)
                return original(*args, **kwargs)

            return wrapped

        return method_wrapped(self.merger, self.LANDMARK, wrap)


def _stands(merger: nn.Module, input_ids: torch.Tensor | None, embeds: torch.Tensor) -> torch.Tensor:
    """Where image tokens stand, bool [B, L]; told by their embedding where there are no ids."""
    token: int = getattr(merger.config, "image_token_id")  # noqa: B009
    if input_ids is not None:
        return torch.eq(input_ids, token)
    embed: nn.Module = getattr(merger, "get_input_embeddings")()  # noqa: B009
    return torch.eq(embeds, embed(torch.tensor(token, device=embeds.device))).all(-1)
