"""What goes into a text backbone along with its tokens, cut as they are.

Some models hand their backbone more than embeddings: which tokens are visual, planes of vision features that are
added behind the first layers (DeepStack), embeddings for each layer, token types.
"""

from __future__ import annotations

import torch

from tokenpruner.entering import OWN, Kwargs
from tokenpruner.thin import Choice
from tokenpruner.transformers_api import CACHE_ARGUMENTS, not_supported

# one entry a token, [B, L, ...]
PER_TOKEN = ("visual_pos_masks", "per_layer_inputs", "mm_token_type_ids", "moe_mm_token_type_ids", "token_type_ids")
# passed on to some backbones, which do not read them: the loss does
FOR_THE_LOSS = ("labels", "shift_labels")
# lists of planes [visual tokens of the whole batch, D]
PER_VISUAL = ("deepstack_visual_embeds",)
MARKS = "visual_pos_masks"


def check(kwargs: Kwargs, shape: tuple[int, int]) -> None:
    """Raise where something of unknown meaning goes along with each token, which would no longer fit."""
    known = (*OWN, *PER_TOKEN, *FOR_THE_LOSS, *PER_VISUAL, *CACHE_ARGUMENTS)
    for name, value in kwargs.items():
        found = None if name in known else per_token(value, shape)
        if found is not None:
            raise ValueError(f"the text backbone also takes {name} {[*found.shape]} per token: {not_supported()}")
    if any(kwargs.get(name) is not None for name in PER_VISUAL) and not isinstance(kwargs.get(MARKS), torch.Tensor):
        raise ValueError(f"the text backbone takes {PER_VISUAL[0]} without {MARKS}: not supported")


def per_token(value: object, shape: tuple[int, int]) -> torch.Tensor | None:
    """A tensor in `value` that has an entry for each token of `shape`, or for each column alike; None without one."""
    if isinstance(value, torch.Tensor):
        (rows, length), sizes = shape, [*value.shape]
        ways = ([rows, length], [1, length])
        is_one = sizes == [length] or any(sizes[at : at + 2] in ways for at in range(len(sizes) - 1))
        return value if is_one else None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return next((found for part in parts if (found := per_token(part, shape)) is not None), None)


def cut(kwargs: Kwargs, choice: Choice, index: torch.Tensor, mask: torch.Tensor) -> Kwargs:
    """What goes along with the kept tokens `index` [B, P], of which `mask` [B, P] are real."""
    changed: Kwargs = {}
    shape = choice.dropped.shape
    for name in PER_TOKEN:
        value = kwargs.get(name)
        if isinstance(value, torch.Tensor) and value.shape[:2] == shape:
            where = index.view(*index.shape, *[1] * (value.ndim - 2)).expand(*index.shape, *value.shape[2:])
            blank = ~mask.view(*mask.shape, *[1] * (value.ndim - 2))
            changed[name] = value.gather(1, where).masked_fill(blank, 0)
    marks = kwargs.get(MARKS)
    for name in PER_VISUAL:
        planes = kwargs.get(name)
        if isinstance(planes, list | tuple) and isinstance(marks, torch.Tensor):
            changed[name] = [_plane(plane, marks.bool(), choice) for plane in planes]
    return changed


def _plane(plane: torch.Tensor, marks: torch.Tensor, choice: Choice) -> torch.Tensor:
    """What is left of a `plane` [visual tokens, D], those where `marks` [B, L]; blended as the tokens are."""
    marks, dropped = marks.to(plane.device), choice.dropped.to(plane.device)
    if choice.blend is None:
        return plane[~dropped[marks]]
    spread = plane.new_zeros(*marks.shape, plane.shape[-1])
    spread[marks] = plane
    return choice.blended(spread)[marks & ~dropped]
