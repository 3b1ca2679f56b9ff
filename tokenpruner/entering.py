"""What enters the text backbone: read from a call's arguments, and rewritten for a pruned sequence or past."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tokenpruner import masks, positions, prepared, thin
from tokenpruner.cache import Past, Prefix
from tokenpruner.method import Positions
from tokenpruner.thin import Choice, Tokens

Kwargs = dict[str, object]
OWN = ("inputs_embeds", "attention_mask", "position_ids")


@dataclass(frozen=True)
class Entering:
    """Tokens on their way into the backbone: `embeds` [B, L, D], and mask and positions as the caller gave them.

    `prepared` is the mask of a model that makes it ahead of its backbone.
    """

    embeds: torch.Tensor
    attention_mask: torch.Tensor | None
    position_ids: torch.Tensor | None
    prepared: object = None

    @classmethod
    def of(cls, kwargs: Kwargs, before: object = None) -> Entering:
        """Read the arguments of the call; `before` is the mask that the model around the backbone was given.

        Raises ValueError for masks and tokens of any other form.
        """
        embeds, mask, position_ids = (kwargs.get(name) for name in OWN)
        if not isinstance(embeds, torch.Tensor):
            raise ValueError("want the text backbone to be called with inputs_embeds")
        made = mask if prepared.is_prepared(mask) else None
        mask = mask if made is None else before
        for name, value in (("attention_mask", mask), ("position_ids", position_ids)):
            if value is not None and not isinstance(value, torch.Tensor):
                raise ValueError(f"want {name} as a tensor, got {type(value).__name__}")
        return cls(embeds, mask, position_ids, made)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and tokens."""
        return self.embeds.shape[0], self.embeds.shape[1]

    def masks(self, past: Past) -> tuple[torch.Tensor, torch.Tensor]:
        """Which of the past's slots and which of the new tokens are real."""
        return masks.split(self.attention_mask, past, self.shape, self.embeds.device)

    def positions(self, past: Past) -> torch.Tensor:
        """The positions of the new tokens, lowered by what was dropped before them under "compact"."""
        where = positions.given(self.position_ids, self.shape, past.logical, self.embeds.device)
        return where if past.prefix is None else where - past.prefix.shift[:, None].to(where.device)


def thinned(
    entering: Entering, past: Past, choice: Choice, policy: Positions, window: int | None = None
) -> tuple[Kwargs, torch.Tensor, Prefix]:
    """What the backbone gets without the dropped tokens; which columns stay, [B, P]; and the cache's new prefix."""
    past_mask, mask = entering.masks(past)
    index = thin.kept_index(mask, choice.dropped)
    tokens = Tokens(choice.blended(entering.embeds), mask, entering.positions(past))
    tokens = thin.gather(tokens, choice.dropped, policy, index)
    shift = torch.zeros(len(mask), dtype=torch.int64, device=mask.device)
    if past.prefix is not None:
        shift = past.prefix.shift.to(mask.device)
    if policy == "compact":
        shift = shift + choice.dropped.sum(1)
    # always an explicit mask: without one, gaps in the positions pass for packed sequences
    whole: object = masks.join(past_mask, tokens.mask, past.removed)
    if entering.prepared is not None:
        made = prepared.rebuilt(entering.prepared, index, tokens.mask, past_mask, window)
        whole = whole if made is None else made
    changed: Kwargs = dict(zip(OWN, (tokens.embeds, whole, tokens.position_ids), strict=True))
    return changed, index, Prefix.of(torch.cat([past_mask, tokens.mask], 1), shift, _tail(mask, choice.dropped))


def _tail(mask: torch.Tensor, dropped: torch.Tensor) -> int:
    """How many of the last columns stay as they are in every row: nothing dropped, no padding behind a token."""
    gone = (dropped | ~mask) & (mask.cumsum(1) > 0)
    columns = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return mask.shape[1] - int((gone * columns).max())


def continued(entering: Entering, past: Past) -> Kwargs:
    """Mask and positions for tokens that follow a pruned past; empty where the caller's are right already."""
    changed: Kwargs = {}
    if past.prefix is None:
        return changed
    if past.prefix.is_padded or entering.attention_mask is not None or entering.prepared is not None:
        changed["attention_mask"] = masks.join(*entering.masks(past), past.removed)
    if past.prefix.is_shifted:
        changed["position_ids"] = entering.positions(past)
    return changed
