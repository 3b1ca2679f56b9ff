"""What enters the text backbone, read from a call's arguments.

Some models hand their backbone more than embeddings: which tokens are visual, vision features that are added behind
the first layers (DeepStack), embeddings for each layer, token types. A tensor of any other name may no longer fit once
tokens are dropped, and is refused; numbers and switches say nothing of single tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tokenpruner.decoder.attention_masks import is_made_ahead, past_and_new
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.packed_rows import check_blocks, check_packed, samples_of
from tokenpruner.decoder.position_ids import full_position_ids
from tokenpruner.models.transformers_api import CACHE_ARGUMENTS, Kwargs, cache_of, not_supported

INPUT_NAMES = ("inputs_embeds", "attention_mask", "position_ids")
# one entry a token, [B, L, ...]
PER_TOKEN = ("visual_pos_masks", "per_layer_inputs", "mm_token_type_ids", "moe_mm_token_type_ids", "token_type_ids")
# passed on to some backbones, which do not read them: the loss does
FOR_THE_LOSS = ("labels", "shift_labels")
# lists of features [visual tokens of the whole batch, D], one for each of the first layers
DEEPSTACK = ("deepstack_visual_embeds",)
VISUAL_MASK = "visual_pos_masks"
# every argument with an entry a token, or one a visual token, that is cut with them
KNOWN = (*INPUT_NAMES, *PER_TOKEN, *FOR_THE_LOSS, *DEEPSTACK, *CACHE_ARGUMENTS)


@dataclass(frozen=True)
class BackboneInputs:
    """Tokens on their way into the backbone: `embeds` [B, L, D], and mask and positions as the caller gave them.

    `made_mask` is the mask of a model that makes it ahead of its backbone; `samples` int64 [B, L] say of packed rows
    which sample each token is of.
    """

    embeds: torch.Tensor
    attention_mask: torch.Tensor | None
    position_ids: torch.Tensor | None
    made_mask: object = None
    samples: torch.Tensor | None = None

    @classmethod
    def of(cls, kwargs: Kwargs, before: object = None, counts_only: bool = False) -> BackboneInputs:
        """Read the arguments of the call; `before` is the mask that the model around the backbone was given.

        Raises ValueError for masks and tokens of any other form; where a pass `counts_only` and nothing will be
        dropped, a mask that was made ahead, say for a static cache, is passed over.
        """
        embeds, mask, position_ids = (kwargs.get(name) for name in INPUT_NAMES)
        if counts_only and is_made_ahead(mask):
            mask, before = (None, None) if is_made_ahead(before) else (mask, before)
        if not isinstance(embeds, torch.Tensor):
            raise ValueError("want the text backbone to be called with inputs_embeds")
        made = mask if is_made_ahead(mask) else None
        mask = mask if made is None else before
        for name, value in (("attention_mask", mask), ("position_ids", position_ids)):
            if value is not None and not isinstance(value, torch.Tensor):
                kind = type(value).__name__
                raise ValueError(f"want {name} of the tokens as a tensor [B, L], as tokenizers make it, got a {kind}")
        samples = samples_of(position_ids, mask, cache_of(kwargs) is not None)
        samples = None if samples is None else samples.to(embeds.device).expand(*embeds.shape[:2])
        return cls(embeds, mask, position_ids, made, samples)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and tokens."""
        return self.embeds.shape[0], self.embeds.shape[1]

    def masks(self, past: Past) -> tuple[torch.Tensor, torch.Tensor]:
        """Which of the past's slots and which of the new tokens are real."""
        return past_and_new(self.attention_mask, past, self.shape, self.embeds.device)

    def positions(self, past: Past) -> torch.Tensor:
        """The positions of the new tokens, lowered by what was dropped before them under "compact"."""
        where = full_position_ids(self.position_ids, self.shape, past.logical, self.embeds.device)
        return where if past.prefix is None else where - past.prefix.shift[:, None].to(where.device)


def check_arguments(kwargs: Kwargs, inputs: BackboneInputs, config: object) -> None:
    """Raise ValueError where a call of a backbone with this `config` says something that cannot be cut with its tokens.

    That is a tensor under a name that is not known, and samples of a packed row that could not be kept apart.
    """
    check_packed(kwargs, inputs.attention_mask, inputs.position_ids)
    for name, value in kwargs.items():
        found = None if name in KNOWN else _first_tensor(value)
        if found is not None:
            raise ValueError(
                f"the text backbone also takes {name} {[*found.shape]}, of which nobody knows what it says of each "
                f"token: {not_supported()}"
            )
    if inputs.samples is not None and inputs.made_mask is None:
        check_blocks(config, inputs.shape[1])
    if any(kwargs.get(name) is not None for name in DEEPSTACK) and not isinstance(
        kwargs.get(VISUAL_MASK), torch.Tensor
    ):
        raise ValueError(f"the text backbone takes {DEEPSTACK[0]} without {VISUAL_MASK}: not supported")


def _first_tensor(value: object) -> torch.Tensor | None:
    """The first tensor in `value` that is more than a number."""
    if isinstance(value, torch.Tensor):
        return value if value.ndim else None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return next((found for part in parts if (found := _first_tensor(part)) is not None), None)


def per_token(value: object, shape: tuple[int, int]) -> torch.Tensor | None:
    """A tensor in `value` that has an entry for each token of `shape`, or for each column alike; None without one."""
    if isinstance(value, torch.Tensor):
        (rows, length), sizes = shape, [*value.shape]
        ways = ([rows, length], [1, length])
        is_one = sizes == [length] or any(sizes[at : at + 2] in ways for at in range(len(sizes) - 1))
        return value if is_one else None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return next((found for part in parts if (found := per_token(part, shape)) is not None), None)
