"""The engine of a chain: what a method before the decoder takes out leaves before layer 0, then come the cuts inside.

The tokens are chosen as they enter the backbone, by their embeddings, and merged there; layer 0 is the first that sees
fewer. So layers, caches, positions and labels have one account of what is gone, whichever method it was. How many
tokens each method keeps is solved for before anything is chosen, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import nn

from tokenpruner.base.inside_decoder import LayerMethod, Stage
from tokenpruner.base.method_chain import MethodChain, is_open
from tokenpruner.before_decoder.selection import Selection, Sequences, joined, select_tokens
from tokenpruner.decoder.backbone_inputs import INPUT_NAMES
from tokenpruner.inside_decoder.decoder_pass import DecoderPass, taken_out
from tokenpruner.inside_decoder.engine import InsideDecoderEngine
from tokenpruner.inside_decoder.stage_selection import check_own_keys
from tokenpruner.models.adapter import Adapter, VisualTokenRecorder
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.tower_reader import TowerReader
from tokenpruner.models.transformers_api import Kwargs
from tokenpruner.report.prefill_record import Lengths
from tokenpruner.report.records import MethodShare, Prefill, Report

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
        inside = NoCut() if chain.inside is None else chain.inside
        super().__init__(adapter, replace(inside, positions=chain.positions), report)
        self.method, self.chain, self.keeps_all = chain, chain, chain.keeps_all
        reader = TowerReader.of(adapter.merger, adapter.backbone, *chain.tower_needs())
        self.recorder = VisualTokenRecorder(reader)
        if chain.before is not None:
            check_own_keys(self.layers, ENTRY.layer)
            self.first, self.ends = 0, [*self.stages, len(self.layers.modules)]

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
        groups = {place: [*own] for place, own in groupby(images, key=lambda image: (image.row, image.sample))}
        others = self._others(current, groups) if self.chain.flops_ratio is not None else [0] * len(groups)
        for (place, own), n in zip(groups.items(), others, strict=True):
            sizes = [image.size for image in own]
            current.splits[place] = self.chain.split(sizes, n, self.costs.layers, place[0])
        if self.chain.flops_ratio is None:
            # all rows alike
            groups = {next(iter(groups)): images}
        rows = Sequences(current.inputs.embeds, current.whole.mask, current.inputs.samples)
        found = [
            select_tokens(rows, own, method, self.adapter.grid)
            for place, own in groups.items()
            if (method := current.splits[place].before) is not None
        ]
        return joined(found) if found else None

    def _others(self, current: DecoderPass, groups: dict[tuple[int, int], list[ImageTokens]]) -> list[int]:
        """How many tokens of the prompt stand beside the images of each group."""
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
        if self.chain.before is not None:
            left = sum(len(one.columns) for one in current.picked[0])
            n_layers = len(self.layers.modules)
            pasts = [(past.logical, past.physical) for past in current.pasts]
            lengths = Lengths(current.whole.mask, [current.cuts[0][1].mask] * n_layers, pasts)
            ratios = x if is_open(self.chain.before) else ()
            shares.append(MethodShare(str(self.chain.before), n, left, ratios, self.costs.flops(lengths)[1]))
            n = left
        if self.chain.inside is not None:
            ratios = x if is_open(self.chain.inside) else ()
            shares.append(MethodShare(str(self.chain.inside), n, record.visual_after, ratios, record.flops_after))
        return tuple(shares)
