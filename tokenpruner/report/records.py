"""The numbers of a pruned model: what was kept, and what it cost, one record a pruned forward pass.

A forward pass is recorded where images enter the part of the model that is pruned, its text decoder or its vision
transformer: once per generate() with a cache, once per step without one. Beams and returned sequences are rows of
their own, as the decoder sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tokenpruner.models.image_layouts import Grid

Part = Literal["decoder", "vision transformer"]


@dataclass(frozen=True)
class KeptImage:
    """Image `image` of batch row `row`, or frame `frame` of it: which of its `size` tokens were `kept`.

    `grid` and `views` are its rows and columns as `Context` has them; `columns` says where in the unpruned row each
    of its tokens stood, a range where they are neighbours. Newline tokens of a cut-up image belong to nothing: they
    stay and are not counted. `layer` is the first decoder layer that did without the others.
    """

    row: int
    image: int
    size: int
    kept: tuple[int, ...]
    grid: Grid | None = None
    frame: int = 0
    views: tuple[Grid, ...] = ()
    columns: Sequence[int] = ()
    layer: int = 0


@dataclass(frozen=True)
class Prefill:
    """One forward pass of the decoder, or of a vision transformer, as `part` says: the new tokens and what they cost.

    Tokens are by row, without padding: `layers` those that each layer saw, `tokens_after` what came out of the last
    one. `images` are what is left at the end, `cuts` what is left behind each cut where there are several.
    `selection_ms` is the choosing and gathering; `prefill_ms` the part as a whole, None where it was not run. FLOPs
    and bytes of keys and values are those that the real lengths ask for.
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
    cuts: tuple[tuple[KeptImage, ...], ...] = ()
    part: Part = "decoder"


@dataclass
class Report:
    """All pruned forward passes of one `method`, its text form; the properties add them up.

    `calls_ms` are the milliseconds of each call of the model as a whole, generate() or a forward pass that was pruned
    outside of it; `peak_bytes` is the most memory that was allocated on a CUDA device, None on any other.
    """

    method: str = ""
    prefills: list[Prefill] = field(default_factory=list)
    calls_ms: list[float] = field(default_factory=list)
    peak_bytes: int | None = None

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
    def layers(self) -> list[tuple[int, int]]:
        """Tokens that each layer of the decoder, or of the vision transformer, would have seen, and those it saw."""
        passes = [prefill for prefill in self.prefills if prefill.layers]
        n_layers = max((len(prefill.layers) for prefill in passes), default=0)
        found = []
        for layer in range(n_layers):
            own = [prefill for prefill in passes if layer < len(prefill.layers)]
            found.append((sum(sum(one.tokens_before) for one in own), sum(sum(one.layers[layer]) for one in own)))
        return found

    @property
    def total_ms(self) -> float:
        """Milliseconds of all calls of the model, generated tokens included."""
        return sum(self.calls_ms)

    @property
    def selection_ms(self) -> float:
        """Milliseconds of choosing and gathering."""
        return sum(prefill.selection_ms for prefill in self.prefills)

    @property
    def prefill_ms(self) -> float:
        """Milliseconds of the part that was pruned: the text backbone, or the vision transformer."""
        return sum(prefill.prefill_ms or 0.0 for prefill in self.prefills)

    @property
    def flops_before(self) -> int:
        """Estimated FLOPs of that part without pruning."""
        return sum(prefill.flops_before for prefill in self.prefills)

    @property
    def flops_after(self) -> int:
        """Estimated FLOPs of that part as it ran."""
        return sum(prefill.flops_after for prefill in self.prefills)

    @property
    def kv_bytes_before(self) -> int:
        """Estimated bytes of keys and values without pruning."""
        return sum(prefill.kv_bytes_before for prefill in self.prefills)

    @property
    def kv_bytes_after(self) -> int:
        """Estimated bytes of keys and values as they were."""
        return sum(prefill.kv_bytes_after for prefill in self.prefills)
