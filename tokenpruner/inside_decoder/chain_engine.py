"""The engine of a chain: what a method before the decoder takes out leaves before layer 0, then come the cuts inside.

The tokens are chosen as they enter the backbone, by their embeddings, and merged there; layer 0 is the first that sees
fewer. So layers, caches, positions and labels have one account of what is gone, whichever method it was. How many
tokens each method keeps is solved for before anything is chosen, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from tokenpruner.base.inside_decoder import LayerMethod, Stage
from tokenpruner.base.method_chain import MethodChain, Sizes, is_open
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.before_decoder.choice import choice_of
from tokenpruner.before_decoder.selection import Selection, Sequences, joined, select_tokens
from tokenpruner.decoder.backbone_inputs import INPUT_NAMES
from tokenpruner.inside_decoder.decoder_pass import DecoderPass, taken_out
from tokenpruner.inside_decoder.engine import InsideDecoderEngine
from tokenpruner.inside_decoder.stage_selection import check_own_keys
from tokenpruner.models.adapter import Adapter, FeatureReader
from tokenpruner.models.image_layouts import Grid
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.transformers_api import Kwargs
from tokenpruner.report.prefill_record import Lengths
from tokenpruner.report.records import MethodShare, Prefill, Report

# a row, and a sample in it where rows are packed
Place = tuple[int, int]
ENTRY = Stage(0)


@dataclass(frozen=True)
class NoCut(LayerMethod):
    """Stands inside the decoder where a chain has no method there."""

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        """None."""
        return ()


class ChainEngine(InsideDecoderEngine):
    """Prunes before the decoder and inside it."""

    def __init__(self, adapter: Adapter, chain: MethodChain, report: Report) -> None:
        inside, self.chain = NoCut() if chain.inside is None else chain.inside, chain
        # what leaves before the decoder: first in the vision tower, then in front of it
        ahead = [one for one in (chain.tower, chain.before) if one is not None]
        self.choices = {one: choice_of(adapter, one, self._is_turn) for one in ahead}
        super().__init__(adapter, replace(inside, positions=chain.positions), report)
        self.method, self.keeps_all = chain, chain.keeps_all
        if ahead:
            check_own_keys(self.layers, ENTRY.layer)
            self.first, self.ends = 0, [*self.stages, len(self.layers.modules)]
        for choice in self.choices.values():
            self.hooked = (*self.hooked, *getattr(choice, "hooked", ()))

    def _is_turn(self) -> bool:
        # `acts` is set later
        return self.acts()

    def _reader(self, method: TokenMethod) -> FeatureReader | None:
        # one of them at most reads
        return next((own.reader for own in self.choices.values() if own.reader is not None), None)

    def _counted(self, record: Prefill) -> Prefill:
        for choice in self.choices.values():
            record = choice.counted(record)
        return record

    def _before_backbone(
        self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        changed = super()._before_backbone(module, args, kwargs)
        current = self.local.current
        if current is None or not current.images or self.keeps_all:
            return changed
        with current.selection.running():
            entry = self._choose(current)
        current.entry = entry
        if entry is None:
            return changed
        current.images = [image.without(entry.dropped) for image in current.images]
        if entry.merged is None:
            return changed
        args, kwargs = (args, kwargs) if changed is None else changed
        if current.deepstack is not None:
            current.deepstack = current.deepstack.with_merged(entry.merged, current.whole)
        return args, kwargs | {INPUT_NAMES[0]: entry.with_merged(current.inputs.embeds)}

    def _choose(self, current: DecoderPass) -> Selection | None:
        """What enters; None where all does. Notes the methods of each row."""
        images = [image.as_entered for image in current.images]
        rows = Sequences(current.inputs.embeds, current.whole.mask, current.inputs.samples)
        left, found = images, []
        if self.chain.tower is not None:
            found = [self.choices[self.chain.tower].select(rows, images)]
            current.unseen = unseen = found[0].dropped
            rows, left = replace(rows, mask=rows.mask & ~unseen), [image.without(unseen) for image in images]
        groups: dict[Place, list[int]] = {}
        for number, image in enumerate(images):
            groups.setdefault((image.row, image.sample), []).append(number)
        others = self._others(current, {place: [images[n] for n in own] for place, own in groups.items()})
        for (place, own), n in zip(groups.items(), others, strict=True):
            sizes = Sizes([images[number].size for number in own], [left[number].size for number in own])
            current.splits[place] = self.chain.split(sizes, n, self.costs.layers, place[0])
        if self.chain.flops_ratio is None:
            # all rows alike
            groups = {next(iter(groups)): [*range(len(images))]}
        for place, own in groups.items():
            before = current.splits[place].before
            if before is not None:
                grid = self.adapter.grid if self.chain.tower is None else _no_grid
                found.append(select_tokens(rows, [left[number] for number in own], before, grid))
        return joined(found, images) if found else None

    def _others(self, current: DecoderPass, groups: dict[Place, list[ImageTokens]]) -> list[int]:
        """How many tokens of the prompt stand beside the images of each group, where that is asked for."""
        if self.chain.flops_ratio is None:
            return [0] * len(groups)
        mask, samples = current.whole.mask & current.is_prompt, current.inputs.samples
        counts = []
        for row, sample in groups:
            own = mask[row] if samples is None else mask[row] & (samples[row] == sample)
            counts.append(own.sum())
        told: list[int] = torch.stack(counts).tolist()
        visual = [sum(image.size for image in own) for own in groups.values()]
        return [n - own for n, own in zip(told, visual, strict=True)]

    def _method_of(self, current: DecoderPass, row: int, sample: int) -> LayerMethod:
        own = current.splits[row, sample].inside
        return self.inside if own is None else own

    def _cut_before(self, current: DecoderPass, number: int, hidden: torch.Tensor, given: Kwargs) -> torch.Tensor:
        entry = current.entry
        if number == ENTRY.layer and entry is not None:
            if not entry.is_whole:
                with current.selection.running():
                    hidden = taken_out(current, entry.dropped, hidden)
            current.cuts.append((ENTRY, current.kept))
            current.picked.append([image.picked(ENTRY.layer) for image in current.images])
        return super()._cut_before(current, number, hidden, given)

    def _record(self, current: DecoderPass) -> Prefill:
        record = super()._record(current)
        return replace(record, chain=self._shares(current, record)) if current.splits else record

    def _shares(self, current: DecoderPass, record: Prefill) -> tuple[MethodShare, ...]:
        """What each method of the chain did."""
        shares, n = [], record.visual_before
        x = tuple(split.x for split in current.splits.values() if split.x is not None)
        if self.chain.tower is not None and current.unseen is not None:
            left, mask = n - int(current.unseen.sum()), current.whole.cut(current.unseen)[0].mask
            shares.append(MethodShare(str(self.chain.tower), n, left, (), self._flops(current, mask)))
            n = left
        if self.chain.before is not None:
            left, ratios = sum(len(one.columns) for one in current.picked[0]), x if is_open(self.chain.before) else ()
            flops = self._flops(current, current.cuts[0][1].mask)
            shares.append(MethodShare(str(self.chain.before), n, left, ratios, flops))
            n = left
        if self.chain.inside is not None:
            ratios = x if is_open(self.chain.inside) else ()
            shares.append(MethodShare(str(self.chain.inside), n, record.visual_after, ratios, record.flops_after))
        return tuple(shares)

    def _flops(self, current: DecoderPass, mask: torch.Tensor) -> int | None:
        """What the decoder would cost if all of its layers saw the tokens of `mask` bool [B, P]."""
        n_layers, pasts = len(self.layers.modules), [(past.logical, past.physical) for past in current.pasts]
        return self.costs.flops(Lengths(current.whole.mask, [mask] * n_layers, pasts))[1]


def _no_grid(size: int) -> Grid | None:
    """That of an image of which some tokens are gone."""
    return None
