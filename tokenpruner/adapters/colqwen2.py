"""ColQwen2 for retrieval: puts image features among the text itself, ahead of the model that has the method for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from tokenpruner.adapters.generic import Generic
from tokenpruner.models.adapter import Encoded, VisualTokenRecorder
from tokenpruner.models.forward_hooks import after_forward, before_forward
from tokenpruner.models.image_layouts import Layout

PIXELS, GRIDS = "pixel_values", "image_grid_thw"


class ColQwen2(Generic):
    """The retrieval model around a vision-language model, told by what it makes: embeddings, out of `vlm`."""

    @classmethod
    def matches(cls, model: nn.Module) -> bool:
        """True for a model with a projection of embeddings that encodes its pictures by the tower of its `vlm`."""
        inner = getattr(model, "vlm", None)
        has_own = hasattr(model, "embedding_proj_layer") and isinstance(getattr(inner, "visual", None), nn.Module)
        return has_own and super().matches(model)

    @contextmanager
    def watch(self, recorder: VisualTokenRecorder) -> Iterator[None]:
        """Note where the image tokens of each call are, the grids of its pictures, and what the tower says of them."""

        def before(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            recorder.clear()
            ids = kwargs.get("input_ids", args[0] if args else None)
            if isinstance(ids, torch.Tensor) and kwargs.get(PIXELS) is not None:
                recorder.masks["image"] = ids == self._token()
                recorder.layouts["image"] = self._layouts(kwargs.get(GRIDS))

        def encoded(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
            if recorder.reader is None:
                return
            if output is None:
                # the tower raised
                recorder.reader.forget()
            elif "image" in recorder.layouts:
                # its tokens are those that the tower puts out
                passed = Encoded(kwargs, output, lambda: output)
                recorder.layouts["image"] = recorder.reader.read(passed, recorder.layouts["image"])[1]

        with ExitStack() as stack:
            if recorder.reader is not None:
                stack.enter_context(recorder.reader.watch())
            visual: nn.Module = getattr(self.merger, "visual")  # noqa: B009
            for handle in (before_forward(self.model, before), after_forward(visual, encoded)):
                stack.callback(handle.remove)
            yield

    def _token(self) -> int:
        return int(getattr(getattr(self.merger, "config"), "image_token_id"))  # noqa: B009

    def _layouts(self, grids: object) -> list[Layout] | None:
        """A picture's patches after the tower merged them."""
        if not isinstance(grids, torch.Tensor):
            return None
        visual: object = getattr(self.merger, "visual")  # noqa: B009
        merge = int(getattr(visual, "spatial_merge_size"))  # noqa: B009
        found = []
        for times, height, width in grids.tolist():
            grid = (height // merge, width // merge)
            found.append(Layout(times * grid[0] * grid[1], times, (grid,)))
        return found
