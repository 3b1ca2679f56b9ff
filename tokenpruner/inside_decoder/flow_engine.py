"""The engine of methods that choose a schedule for each row: tokens leave before layers, and layers are skipped.

The schedules are chosen as the hidden states come to the first layer where one of them does anything. From there on a
row has the cuts of its own schedule and no others, and is taken out of the batch where a layer is skipped. Schedules
lie in the cache, in its first layer, so that later passes skip the same layers. Rows without pictures compute all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import nn

from tokenpruner.base.inside_decoder import LayerMethod, Stage
from tokenpruner.base.layer_flow import Flow, FlowMethod, row_features
from tokenpruner.decoder import cache_state
from tokenpruner.decoder.cache_layers import PrunedPrefix, RowSchedules
from tokenpruner.decoder.cache_state import SKIPS_LAYERS
from tokenpruner.inside_decoder.decoder_pass import DecoderPass
from tokenpruner.inside_decoder.engine import InsideDecoderEngine
from tokenpruner.inside_decoder.layer_arguments import bound_arguments
from tokenpruner.inside_decoder.skipped_layers import Forward, check_not_recomputed, check_skippable, run_rows
from tokenpruner.inside_decoder.stage_selection import check_own_keys
from tokenpruner.models.adapter import Adapter
from tokenpruner.models.overrides import forward_replaced
from tokenpruner.models.transformers_api import Cache, Kwargs, cache_of_output
from tokenpruner.report.records import Prefill, Report


def engine_of(adapter: Adapter, method: LayerMethod, report: Report) -> InsideDecoderEngine:
    """The engine for a method inside the decoder."""
    return (FlowEngine if isinstance(method, FlowMethod) else InsideDecoderEngine)(adapter, method, report)  # type: ignore[arg-type]


class FlowEngine(InsideDecoderEngine):
    """Prunes inside the decoder by a schedule for each row."""

    skips_layers = True

    def __init__(self, adapter: Adapter, method: FlowMethod, report: Report) -> None:
        if method.mode != "drop":
            raise ValueError(f'want mode="drop" where layers are skipped, got {method}')
        super().__init__(adapter, method, report)
        self.router, self.flows = method, {str(flow): flow for flow in method.flows()}
        self.fixed: dict[str, LayerMethod] = {name: method.fixed(flow) for name, flow in self.flows.items()}
        self.skipped = sorted({layer for flow in self.flows.values() for layer in flow.skipped})
        check_skippable(self.layers, self.skipped)
        # where the schedules are chosen
        self.chooses = min((flow.layers[0] for flow in self.flows.values() if flow.layers), default=None)
        if self.skipped:
            check_own_keys(self.layers, self.skipped[0])

    @contextmanager
    def attached_inside(self) -> Iterator[None]:
        """Hooks on the layers, and in place of those that may be skipped what skips them."""
        with ExitStack() as stack:
            stack.enter_context(super().attached_inside())
            for number in self.skipped:
                acts, run = functools.partial(self._is_skipped, number), functools.partial(self._run, number)
                stack.enter_context(forward_replaced(self.layers.modules[number], acts, run))
            yield

    def _before_backbone(
        self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        changed = super()._before_backbone(module, args, kwargs)
        current = self.local.current
        if current is None:
            return changed
        said = cache_state.schedules_of(current.cache)
        current.schedules = [None] * len(current.whole.mask) if said is None else said.told()
        if not {name for name in current.schedules if name is not None} <= self.flows.keys():
            raise ValueError(SKIPS_LAYERS)
        if current.inputs.samples is not None and not self.keeps_all:
            raise ValueError("want one sample a row where rows have schedules, got packed rows: give each its own row")
        check_not_recomputed(self.layers, self.skipped)
        return changed

    def _before_layer(
        self, number: int, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs
    ) -> tuple[tuple[object, ...], Kwargs] | None:
        current = self.local.current
        if current is not None and current.images and number == self.chooses and not self.keeps_all:
            hidden, _ = bound_arguments(module, args, kwargs)
            with current.selection.running(), torch.no_grad():
                self._choose(current, hidden.detach())
        return super()._before_layer(number, module, args, kwargs)

    def _choose(self, current: DecoderPass, hidden: torch.Tensor) -> None:
        """Give each row with pictures a schedule, if it has none."""
        rows = sorted({image.row for image in current.images if current.schedules[image.row] is None})
        if not rows:
            return
        names, picks = [*self.flows], [0] * len(rows)
        if len(names) > 1:
            visual, text = torch.zeros_like(current.whole.mask), current.whole.mask & current.is_prompt
            for image in current.images:
                visual[image.row, image.columns] = True
                text[image.row, image.columns] = False
                text[image.row, image.newlines] = False
            index = torch.tensor(rows, device=hidden.device)
            with torch.autocast(hidden.device.type, enabled=False):
                features = row_features(*(x.to(hidden.device)[index] for x in (hidden, visual, text)))
                picks = self.router.route(features).tolist()
            current.n_routed = len(rows)
        for row, pick in zip(rows, picks, strict=True):
            current.schedules[row] = names[pick]

    def _after_layer(self, number: int, module: nn.Module, args: tuple[object, ...], output: object) -> object:
        if self.skipped and number == 0 and self.local.current is not None and not isinstance(output, torch.Tensor):
            got = f"puts out {type(output).__name__}, not hidden states"
            raise ValueError(f"{type(module).__name__} {got}: its like cannot be skipped, got {self.method}")
        return super()._after_layer(number, module, args, output)

    def _method_of(self, current: DecoderPass, row: int, sample: int) -> LayerMethod:
        return self.fixed[current.schedules[row] or ""]

    def _flow(self, current: DecoderPass, row: int) -> Flow:
        return self.flows.get(current.schedules[row] or "", Flow())

    def _computing(self, current: DecoderPass, number: int) -> list[int]:
        """The rows that do not skip a layer."""
        rows = range(len(current.schedules))
        return [row for row in rows if number not in self._flow(current, row).skipped]

    def _is_cut(self, current: DecoderPass, stage: Stage) -> bool:
        """Whether a row's schedule has this cut, or may get to have it."""
        rows = {image.row for image in current.images}
        return any(current.schedules[row] is None or stage.layer in dict(self._flow(current, row).cuts) for row in rows)

    def _arguments(self, current: DecoderPass, number: int, given: Kwargs) -> Kwargs:
        # of a layer that nobody computes the cache may hold nothing that a mask could fit
        return super()._arguments(current, number, given) if self._computing(current, number) else given

    def _read(self, current: DecoderPass, stage: Stage, hidden: torch.Tensor, arguments: Kwargs) -> None:
        if self._is_cut(current, stage):
            super()._read(current, stage, hidden, arguments)

    def _cut(self, current: DecoderPass, stage: Stage, hidden: torch.Tensor) -> torch.Tensor:
        if self._is_cut(current, stage):
            return super()._cut(current, stage, hidden)
        current.cuts.append((stage, current.kept))
        current.picked.append([image.picked(stage.layer) for image in current.images])
        return hidden

    def _is_skipped(self, number: int) -> bool:
        """Whether a row of the pass that runs skips a layer."""
        current = self.local.current
        return current is not None and len(self._computing(current, number)) < len(current.schedules)

    def _run(self, number: int, forward: Forward, given: dict[str, object]) -> object:
        """What a layer puts out that rows skip."""
        current = self.local.current
        if current is None:
            return forward(**given)
        rows, cost = self._computing(current, number), self.costs.layers[number]
        output = run_rows(self.layers.modules[number], forward, given, rows, self.layers.slots[number])
        others = [row for row in range(len(current.schedules)) if row not in rows]
        one = None if cost is None else cost.flops(output.shape[1], current.pasts[number].physical)
        current.skipped_layers[number] = others, None if one is None else one * len(others)
        return output

    def _after_backbone(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs, output: object) -> None:
        current = self.local.current
        if current is not None and output is not None and current.images and current.skipped_layers:
            cache = cache_of_output(output) if current.cache is None else current.cache
            if cache is not None:
                self._note_schedules(current, cache)
        super()._after_backbone(module, args, kwargs, output)

    def _note_schedules(self, current: DecoderPass, cache: Cache) -> None:
        """Leave the schedules in the cache's first layer, whose slots are all there."""
        first, names = self.layers.first_attending, tuple(self.flows)
        past, device = current.pasts[first], current.whole.mask.device
        places = [-1 if name is None else names.index(name) for name in current.schedules]
        said = RowSchedules(names, torch.tensor(places, device=device))
        prefix = past.prefix
        if prefix is None:
            slots = torch.cat([current.inputs.masks(past)[0], current.whole.mask], 1)
            shift = torch.zeros(len(slots), dtype=torch.int64, device=device)
            prefix = PrunedPrefix.of(slots, shift, current.whole.n_last, differs_by_layer=True)
        slot = self.layers.slots[first]
        cache_state.commit_at(cache, slot, past.removed, replace(prefix, schedules=said))

    def _record(self, current: DecoderPass) -> Prefill:
        """The numbers of a pass: what rows skip costs nothing, and the router costs what it does."""
        record = super()._record(current)
        layers, after = [*record.layers], record.flops_after
        for number, (rows, saved) in current.skipped_layers.items():
            layers[number] = tuple(0 if row in rows else count for row, count in enumerate(layers[number]))
            after = None if after is None or saved is None else after - saved
        routing = current.n_routed * self.router.routing_flops() if current.n_routed else 0
        schedules = tuple(name or "" for name in current.schedules)
        after = None if after is None else after + routing
        return replace(record, layers=tuple(layers), flops_after=after, schedules=schedules)
