"""The numbers of a pruned model: what was kept, and what it cost, one record a pruned forward pass.

A forward pass is recorded where images enter the part of the model that is pruned, its text decoder or its vision
transformer: once per generate() with a cache, once per step without one. Beams and returned sequences are rows of
their own, as the decoder sees them. A report adds all of them up and holds the records of the last `LAST` only, so
that a server may stay in one `with` for ever.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from tokenpruner.models.image_layouts import Grid

Part = Literal["decoder", "vision transformer", "tower and decoder"]
# records and calls that a report holds: some megabytes of pictures, under 100 of long videos
LAST = 256


@dataclass(frozen=True)
class KeptImage:
    """Image `image` of batch row `row`, or frame `frame` of it: which of its `size` tokens were `kept`.

    `grid` and `views` are the rows and columns of its patches as `Context` has them; `columns` says where in the
    unpruned row each of its tokens stood, a range where they are neighbours, and `newlines` which of them are no
    patches but end a line. `layer` is the first decoder layer that did without the others.
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
    newlines: tuple[int, ...] = ()

    @property
    def patches(self) -> tuple[int, ...]:
        """The patches that were kept, counted without newlines."""
        if not self.newlines:
            return self.kept
        ends = {*self.newlines}
        return tuple(place - bisect_left(self.newlines, place) for place in self.kept if place not in ends)


@dataclass(frozen=True)
class MethodShare:
    """What one `method` of a chain did in a pass, by its text form: the visual tokens that came to it and were left.

    `keep_ratios` are the fractions that were solved for, row by row, empty where the method says itself how many it
    keeps; `flops_after` is what the decoder would cost if the chain ended with it, None where that is not known.
    """

    method: str
    visual_before: int
    visual_after: int
    keep_ratios: tuple[float, ...]
    flops_after: int | None


@dataclass(frozen=True)
class Prefill:
    """One forward pass of the decoder, or of a vision transformer, as `part` says: the new tokens and what they cost.

    Where tokens leave inside the tower of a vision-language model, FLOPs and times are those of both.

    Tokens are by row, without padding: `layers` those that each layer saw, `tokens_after` what came out of the last
    one. `images` are what is left at the end, `cuts` what is left behind each cut where there are several, and `chain`
    what each method of a chain did; `schedules` are those that rows were given, "" for a row that was given none.

    `prefill_ms` is the part as a whole, from its first hook to its last, the choosing included; None where it was not
    run. `selection_ms` is the choosing and gathering. FLOPs are those of the layers, rows padded as they are, without
    what the choosing reads; None where a layer is of a kind whose cost is not known. Bytes are those of the cache
    behind the pass, states and padding included, as it would be and as it is; 0 without a cache, None where the part
    was not run.
    """

    images: tuple[KeptImage, ...]
    tokens_before: tuple[int, ...]
    tokens_after: tuple[int, ...]
    selection_ms: float
    prefill_ms: float | None
    flops_before: int | None
    flops_after: int | None
    kv_bytes_before: int | None
    kv_bytes_after: int | None
    layers: tuple[tuple[int, ...], ...] = ()
    cuts: tuple[tuple[KeptImage, ...], ...] = ()
    part: Part = "decoder"
    chain: tuple[MethodShare, ...] = ()
    schedules: tuple[str, ...] = ()

    @property
    def visual_before(self) -> int:
        """Visual tokens that came."""
        return sum(image.size for image in self.images)

    @property
    def visual_after(self) -> int:
        """Visual tokens that stayed."""
        return sum(len(image.kept) for image in self.images)


@dataclass
class Report:
    """All pruned forward passes of one `method`, its text form, added up; `prefills` and `calls_ms` are the last ones.

    The numbers below are sums over all passes and calls since the report was made or cleared. Visual tokens are those
    that came and that stayed, tokens those of all rows, text included, padding not. `selection_ms` are the
    milliseconds of choosing and gathering, `prefill_ms` those of the part that was pruned with them, to which FLOPs
    and bytes of caches belong, None where they are not known of every pass. `layers` are the tokens that each layer
    would have seen, and saw.

    `calls_ms` are the milliseconds of each call of the model as a whole, generate() or a forward pass that was pruned
    outside of it, and `total_ms` their sum; `peak_bytes` is the most memory that was allocated on a CUDA device, None
    on any other. `hold` says how many passes and calls are held, None all of them.
    """

    method: str = ""
    prefills: list[Prefill] = field(default_factory=list)
    calls_ms: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    n_passes: int = field(default=0, init=False)
    n_images: int = field(default=0, init=False)
    n_calls: int = field(default=0, init=False)
    visual_before: int = field(default=0, init=False)
    visual_after: int = field(default=0, init=False)
    tokens_before: int = field(default=0, init=False)
    tokens_after: int = field(default=0, init=False)
    flops_before: int | None = field(default=0, init=False)
    flops_after: int | None = field(default=0, init=False)
    kv_bytes_before: int | None = field(default=0, init=False)
    kv_bytes_after: int | None = field(default=0, init=False)
    selection_ms: float = field(default=0.0, init=False)
    prefill_ms: float = field(default=0.0, init=False)
    total_ms: float = field(default=0.0, init=False)
    layers: list[tuple[int, int]] = field(default_factory=list, init=False)
    hold: int | None = field(default=LAST, kw_only=True)

    def __post_init__(self) -> None:
        prefills, calls_ms = self.prefills, self.calls_ms
        self.prefills, self.calls_ms = [], []
        for prefill in prefills:
            self.add(prefill)
        for milliseconds in calls_ms:
            self.add_call(milliseconds)

    @property
    def images(self) -> list[KeptImage]:
        """Every image of the passes that are held, in order."""
        return [image for prefill in self.prefills for image in prefill.images]

    def add(self, prefill: Prefill) -> None:
        """Count a pass, and hold it until `hold` others have come."""
        self.n_passes += 1
        self.n_images += len(prefill.images)
        self.visual_before += prefill.visual_before
        self.visual_after += prefill.visual_after
        self.tokens_before += sum(prefill.tokens_before)
        self.tokens_after += sum(prefill.tokens_after)
        self.flops_before = _sum(self.flops_before, prefill.flops_before)
        self.flops_after = _sum(self.flops_after, prefill.flops_after)
        self.kv_bytes_before = _sum(self.kv_bytes_before, prefill.kv_bytes_before)
        self.kv_bytes_after = _sum(self.kv_bytes_after, prefill.kv_bytes_after)
        self.selection_ms += prefill.selection_ms
        self.prefill_ms += prefill.prefill_ms or 0.0
        self.layers += [(0, 0)] * (len(prefill.layers) - len(self.layers))
        came = sum(prefill.tokens_before)
        for number, rows in enumerate(prefill.layers):
            before, after = self.layers[number]
            self.layers[number] = (before + came, after + sum(rows))
        self.prefills.append(prefill)
        self._forget(self.prefills)

    def add_call(self, milliseconds: float) -> None:
        """Count a call of the model as a whole."""
        self.n_calls += 1
        self.total_ms += milliseconds
        self.calls_ms.append(milliseconds)
        self._forget(self.calls_ms)

    def _forget(self, held: list[Prefill] | list[float]) -> None:
        if self.hold is not None:
            del held[: max(len(held) - self.hold, 0)]

    def clear(self) -> None:
        """Begin anew with the same method; the peak of the memory stays."""
        fresh = Report(self.method, peak_bytes=self.peak_bytes, hold=self.hold)
        for number in fields(self):
            setattr(self, number.name, getattr(fresh, number.name))


def _sum(one: int | None, other: int | None) -> int | None:
    """The sum, not known where one of them is not."""
    return None if one is None or other is None else one + other
