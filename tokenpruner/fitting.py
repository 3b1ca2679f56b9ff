"""A pass of a decoder whose layers see different tokens, and what each layer is given in it.

A layer behind a cut gets the mask, positions and other arguments of the tokens that are left; so does, in later
passes, a layer whose cache lacks tokens. Layers that are alike share what was made for the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from tokenpruner import cache as caches
from tokenpruner import layer_masks, probe
from tokenpruner.cutting import Kwargs, Remaining, cut_arguments
from tokenpruner.entering import Entering
from tokenpruner.layer_method import Stage
from tokenpruner.layers import Layers
from tokenpruner.numbering import Numbering, lowered
from tokenpruner.planes import Planes
from tokenpruner.report import KeptImage
from tokenpruner.staging import Live


@dataclass
class Pass:
    """One forward pass of the backbone: what entered, and what is left where it has come to.

    Columns from `limit` int64 [B, 1] on come after the prompt, generated or to be learned. `pasts` are what each
    layer held before, which are not alike where the cache `is_apart`, `lacks` what the cache of a layer that has run
    behind a cut will lack.
    """

    cache: caches.Cache | None
    entering: Entering
    whole: Remaining
    layout: Remaining
    limit: torch.Tensor
    pasts: tuple[caches.Past, ...]
    is_apart: bool = False
    live: list[Live] = field(default_factory=list)
    planes: Planes | None = None
    seen: tuple[probe.Reading, torch.Tensor] | None = None
    # where tokens are skipped: which ones, and the hidden states of all while a layer runs
    skipped: torch.Tensor | None = None
    passed_by: torch.Tensor | None = None
    lacks: dict[int, tuple[int, caches.Prefix]] = field(default_factory=dict)
    cuts: list[tuple[Stage, Remaining]] = field(default_factory=list)
    # what is left behind each cut, for the report
    told: list[tuple[KeptImage, ...]] = field(default_factory=list)
    # by what it depends on: what a layer gets, along with what keeps the key's ids alive
    fitted: dict[tuple[object, ...], tuple[Kwargs, Kwargs, tuple[int, caches.Prefix] | None]] = field(
        default_factory=dict
    )
    seconds: float = 0.0
    started: float = 0.0


class Fitting:
    """What the layers of one decoder are given; `numbering` where positions are to be numbered anew."""

    def __init__(self, layers: Layers, numbering: Numbering | None) -> None:
        self.layers, self.numbering = layers, numbering

    def arguments(self, current: Pass, number: int, given: Kwargs) -> Kwargs:
        """The arguments of layer `number` for the tokens that are left and the slots that it holds."""
        kind, slot, layout = self.layers.kinds[number], self.layers.slots[number], current.layout
        past = caches.read_at(current.cache, slot) if kind.attends else caches.Past()
        mask, prefix = given.get("attention_mask"), past.prefix
        if layout.is_whole and (prefix is None or not (mask is not None or prefix.is_padded or prefix.is_shifted)):
            return given
        names = sorted(name for name, value in given.items() if value is not None)
        # layers of one length may hold different tokens
        key = (len(current.cuts), kind, past.physical, id(prefix), *((name, id(given[name])) for name in names))
        if key not in current.fitted:
            past_mask = current.entering.masks(past)[0] if kind.attends else layout.mask[:, :0]
            changed = {} if layout.is_whole else cut_arguments(given, layout)
            changed["attention_mask"] = layer_masks.rebuilt(mask, layout.index, layout.mask, past_mask, kind)
            shift = None
            if self.numbering is not None and kind.attends:
                anew, shift = self._numbered(current, number, given, past)
                changed |= anew
            lacks = None if layout.is_whole else _lacks(past, past_mask, layout, shift)
            current.fitted[key] = given, changed, lacks
        _, changed, lacks = current.fitted[key]
        if lacks is not None:
            current.lacks[slot] = lacks
        return given | changed

    def _numbered(self, current: Pass, number: int, given: Kwargs, past: caches.Past) -> tuple[Kwargs, torch.Tensor]:
        """Positions of a layer's tokens numbered anew, and by how much those of later passes are lowered."""
        numbering, positions = self.numbering, current.entering.positions(past)
        before = torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
        before = before if past.prefix is None else past.prefix.shift.to(positions.device)
        if numbering is None or positions.ndim != 2:
            raise ValueError(f'positions="compact" wants one position a token, got {[*positions.shape]}')
        if current.layout.is_whole:
            return numbering.anew(number, given, positions), before
        numbering.check(number, given, positions + before[:, None])
        where, gone = lowered(positions, current.layout, current.whole.mask)
        return numbering.anew(number, given, where), before + gone


def _lacks(
    past: caches.Past, past_mask: torch.Tensor, layout: Remaining, shift: torch.Tensor | None
) -> tuple[int, caches.Prefix]:
    """What a layer's cache lacks behind a cut: how many columns, and which of its slots are real."""
    if shift is None:
        shift = torch.zeros(len(layout.mask), dtype=torch.int64, device=layout.mask.device)
    slots = torch.cat([past_mask, layout.mask], 1)
    removed = past.removed + layout.length - layout.mask.shape[1]
    return removed, caches.Prefix.of(slots, shift, layout.tail, is_apart=True)
