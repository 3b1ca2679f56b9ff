"""Tokens that leave inside the vision tower of a vision-language model, and never enter its decoder.

Behind the projector each token that is left is put back at the place of its patch, so that what comes next, views
packed line by line for example, finds the grid that it expects. The other places hold NaN, which says wherever they are
moved to that nothing is there; a model that does more than move them, pools them say, is refused. Then the places are
emptied, noted beside the image's layout, and dropped before the decoder as those of any other method.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import nn

from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.before_decoder.selection import Selection, Sequences, checked
from tokenpruner.models import projected_towers
from tokenpruner.models.adapter import Adapter, Encoded
from tokenpruner.models.image_layouts import Layout
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.tower_reading import TowerReading
from tokenpruner.report.prefill_record import PickedImage
from tokenpruner.report.records import Prefill, Report
from tokenpruner.vision_transformer.engine import VisionTransformerEngine
from tokenpruner.vision_transformer.tower_pass import TowerPass

FEATURES = "pooler_output"


class Encoding(threading.local):
    """What this thread has encoded: passes that no decoder has seen yet, the last one, and what it was projected to."""

    def __init__(self) -> None:
        self.records: list[Prefill] = []
        self.last: TowerPass | None = None
        # the first number of each token that was projected where some are gone
        self.projected: list[torch.Tensor] = []


class CutTower(VisionTransformerEngine):
    """The tower of one model while tokens leave inside it; tells of each image which are left."""

    def __init__(self, adapter: Adapter, method: BlockMethod, acts: Callable[[], bool]) -> None:
        found = projected_towers.find(adapter.merger, adapter.backbone)
        super().__init__(adapter.model, found.tower, method, Report(), found.n_blocks)
        self.projector, self.acts, self.encoding = found.projector, acts, Encoding()
        self.hooked = (*self.hooked, self.projector)

    @property
    def reader(self) -> CutTower:
        """Itself."""
        return self

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While open, tokens leave inside the tower, whichever thread encodes."""
        with ExitStack() as stack:
            stack.enter_context(self.attached())
            stack.callback(self.projector.register_forward_hook(self._after_projector).remove)
            yield

    def _add(self, record: Prefill, current: TowerPass) -> None:
        self.encoding.records.append(record)
        self.encoding.last = current

    def _after_projector(self, module: nn.Module, args: tuple[object, ...], output: torch.Tensor) -> object:
        """The tokens that are left at their places among all."""
        last, self.encoding.last = self.encoding.last, None
        if last is None or not last.kept:
            return None
        tokens, places = args[0], last.kept[-1].to(output.device)
        n_given = tokens.shape[1] if isinstance(tokens, torch.Tensor) and tokens.ndim == 3 else -1
        n_cut = places.shape[1] - n_given
        if not 0 <= n_cut <= self.tower.protected or output.shape[:2] != (len(places), n_given):
            raise ValueError(
                f"{self.name}: want the {places.shape[1]} tokens that its tower has left, but for the first ones, in "
                f"its projector, got {n_given}: {projected_towers.WAY_OUT}"
            )
        self.encoding.projected.append(output.detach()[..., 0].flatten())
        places = (places[:, n_cut:] - n_cut)[..., None].expand(-1, -1, output.shape[-1])
        whole = output.new_full((len(output), last.lengths[0] - n_cut, output.shape[-1]), torch.nan)
        return whole.scatter(1, places, output)

    def read(self, encoded: Encoded, layouts: Sequence[Layout] | None) -> tuple[object, list[Layout]]:
        """The output with zeros at the places of tokens that are gone, and layouts that tell of them."""
        projected, self.encoding.projected = self.encoding.projected, []
        sizes = [layout.size for layout in layouts or ()]
        features = getattr(encoded.output, FEATURES, encoded.output)
        parts = [*features] if isinstance(features, torch.Tensor | list | tuple) else []
        if layouts is None or not parts or sum(map(_n_tokens, parts)) != sum(sizes):
            raise self._unknown()
        if not projected:
            return encoded.output, [
                replace(one, reading=TowerReading(kept=torch.ones(one.size, dtype=torch.bool))) for one in layouts
            ]
        left = [~part.isnan().any(-1) for part in parts]
        self._check(torch.cat(projected), parts, left, layouts)
        filled = [part.masked_fill(~own[..., None], 0) for part, own in zip(parts, left, strict=True)]
        own = torch.cat([own.flatten() for own in left]).split(sizes)
        told = [replace(one, reading=TowerReading(kept=kept)) for one, kept in zip(layouts, own, strict=True)]
        output: object = tuple(filled) if isinstance(features, tuple) else filled
        if isinstance(features, torch.Tensor):
            output = torch.stack(filled)
        if hasattr(encoded.output, FEATURES):
            setattr(encoded.output, FEATURES, output)
            output = encoded.output
        return output, told

    def forget(self) -> None:
        """Hold nothing more of this thread."""
        self.encoding.projected, self.encoding.last = [], None

    def _check(
        self,
        projected: torch.Tensor,
        parts: Sequence[torch.Tensor],
        left: Sequence[torch.Tensor],
        layouts: Sequence[Layout],
    ) -> None:
        """Raise ValueError unless tokens were moved at most: those that are left are as they were projected."""
        found = torch.cat([part[own][:, 0] for part, own in zip(parts, left, strict=True)])
        n_newlines = sum(len(layout.newlines) for layout in layouts)
        n_known = int(torch.isin(found, projected).sum())
        # what is packed loses the tokens of padding
        is_whole = n_newlines or n_known == len(projected)
        if n_known < len(found) - n_newlines or not is_whole:
            raise self._unknown()

    def _unknown(self) -> ValueError:
        return ValueError(
            f"{self.name} does more with the tokens behind its projector than to move them, pooling perhaps, and wants "
            f"all of them: {projected_towers.WAY_OUT}"
        )

    def counted(self, record: Prefill) -> Prefill:
        """`record` of the decoder with what the tower took before."""
        passes, self.encoding.records = self.encoding.records, []
        for own in passes:
            before, after = (
                None if one is None or other is None else one + other
                for one, other in ((record.flops_before, own.flops_before), (record.flops_after, own.flops_after))
            )
            record = replace(
                record,
                flops_before=before,
                flops_after=after,
                selection_ms=record.selection_ms + own.selection_ms,
                prefill_ms=None if record.prefill_ms is None else record.prefill_ms + (own.prefill_ms or 0.0),
            )
        return replace(record, part="tower and decoder")

    def select(self, rows: Sequences, images: Sequence[ImageTokens]) -> Selection:
        """The tokens that are left of each image."""
        dropped = torch.zeros_like(rows.mask)
        picked = []
        for image in images:
            reading, left = image.own_reading(), image.columns
            if reading is not None and reading.kept is not None:
                kept = reading.kept.to(left.device)
                dropped[image.row, left[~kept]] = True
                left = left[kept]
            elif not self.method.keeps_all:
                # they may hold zeros where nothing is left
                raise ValueError(f"{self.name}: want images that are encoded by this call, got features")
            picked.append(PickedImage(image, torch.cat([left, image.newlines.to(left.device)]).sort().values))
        return checked(Selection(dropped, tuple(picked)), dropped & ~rows.mask)


def _n_tokens(part: object) -> int:
    return part.shape[:-1].numel() if isinstance(part, torch.Tensor) else -1
