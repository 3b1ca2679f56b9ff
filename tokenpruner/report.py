"""The numbers of a pruned model: what was kept, and what it cost, one record a pruned forward pass.

A forward pass is recorded where images enter the decoder: once per generate() with a cache, once per step
without one. Beams and returned sequences are rows of their own, as the decoder sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenpruner.layouts import Grid


@dataclass(frozen=True)
class KeptImage:
    """Image `image` of batch row `row`, or frame `frame` of it: which of its `size` tokens were `kept`.

    `grid` and `views` are its rows and columns as `Context` has them; `columns` says where in the unpruned row
    each of its tokens stood. Newline tokens of a cut-up image belong to nothing: they stay and are not counted.
    `layer` is the first decoder layer that did without the others.
    """

    row: int
    image: int
    size: int
    kept: tuple[int, ...]
    grid: Grid | None = None
    frame: int = 0
    views: tuple[Grid, ...] = ()
    columns: tuple[int, ...] = ()
    layer: int = 0


@dataclass(frozen=True)
class Prefill:
    """One forward pass: tokens by row without padding, milliseconds, estimated FLOPs and KV bytes of the new tokens.

    `layers` are the tokens by row that each decoder layer saw, `tokens_after` those of the last one.
    `selection_ms` is the choosing and gathering; `prefill_ms` the text backbone alone, None where it was not run.
    """

    images: tuple[KeptImage, ...]
    tokens_before: tuple[int, ...]
    tokens_after: tuple[int, ...]
    selection_ms: float
    prefill_ms: float | None
    flops_before: int
    flops_after: int
    kv_bytes_before: int
    kv_bytes_after: int
    layers: tuple[tuple[int, ...], ...] = ()


@dataclass
class Report:
    """All pruned forward passes of one `method`, its text form; the properties add them up."""

    method: str = ""
    prefills: list[Prefill] = field(default_factory=list)

    @property
    def images(self) -> list[KeptImage]:
        """Every image that was pruned, in order."""
        return [image for prefill in self.prefills for image in prefill.images]

    @property
    def visual_before(self) -> int:
        """Visual tokens that came."""
        return sum(image.size for image in self.images)

    @property
    def visual_after(self) -> int:
        """Visual tokens that stayed."""
        return sum(len(image.kept) for image in self.images)

    @property
    def tokens_before(self) -> int:
        """Tokens of all rows that came, text included, padding not."""
        return sum(sum(prefill.tokens_before) for prefill in self.prefills)

    @property
    def tokens_after(self) -> int:
        """Tokens of all rows that the decoder saw."""
        return sum(sum(prefill.tokens_after) for prefill in self.prefills)

    @property
    def selection_ms(self) -> float:
        """Milliseconds of choosing and gathering."""
        return sum(prefill.selection_ms for prefill in self.prefills)

    @property
    def prefill_ms(self) -> float:
        """Milliseconds of the text backbone in the pruned passes."""
        return sum(prefill.prefill_ms or 0.0 for prefill in self.prefills)

    @property
    def flops_before(self) -> int:
        """Estimated FLOPs of the decoder without pruning."""
        return sum(prefill.flops_before for prefill in self.prefills)

    @property
    def flops_after(self) -> int:
        """Estimated FLOPs of the decoder as it ran."""
        return sum(prefill.flops_after for prefill in self.prefills)

    @property
    def kv_bytes_before(self) -> int:
        """Estimated bytes of keys and values without pruning."""
        return sum(prefill.kv_bytes_before for prefill in self.prefills)

    @property
    def kv_bytes_after(self) -> int:
        """Estimated bytes of keys and values as they were."""
        return sum(prefill.kv_bytes_after for prefill in self.prefills)
