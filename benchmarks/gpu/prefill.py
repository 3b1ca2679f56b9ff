"""The prefill of two LVLMs' decoders with random weights: all visual tokens, pruned before them, and pruned inside.

A plain decoder of Llama's and Qwen2's geometry (RMSNorm, rotary positions, grouped queries, SwiGLU), one prompt, its
keys and values kept as a cache would. What is measured is the decoder and the choice of tokens, not the vision tower;
with random weights the picks mean nothing, and cost what they cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from benchmarks.harness import DEVICE, Repeats, Timing, measure_in_turn, quantiles
from prunekernels.attention_received import attention_received
from prunekernels.farthest_point import farthest_point

IS_GPU = DEVICE.type == "cuda"
DTYPE = torch.bfloat16 if IS_GPU else torch.float32
TEXT = 64


@dataclass(frozen=True)
class Geometry:
    """Of a decoder: layers, width, query and key heads of `dims` each, the width inside SwiGLU, words."""

    name: str
    layers: int
    width: int
    heads: int
    key_heads: int
    dims: int
    inner: int
    words: int
    base: float
    bias: bool


LLAVA = Geometry("LLaVA-1.5-7B", 32, 4096, 32, 32, 128, 11_008, 32_064, 1e4, False)
QWEN = Geometry("Qwen2.5-VL-7B", 28, 3584, 28, 4, 128, 18_944, 152_064, 1e6, True)
TINY = Geometry("tiny", 3, 64, 4, 2, 16, 96, 128, 1e4, True)


@dataclass(frozen=True)
class Row:
    """Milliseconds of the whole prefill; the share is what choosing the tokens takes of the pruned one."""

    model: str
    visual_tokens: int
    kept: int
    pruned: str
    full_ms: Timing
    pruned_ms: Timing
    speed_up: float
    selection_ms: Timing
    selection_share: float


class Decoder:
    """Random weights; a layer's are one tuple."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = g = geometry
        generator = torch.Generator(DEVICE).manual_seed(0)

        def normal(rows: int, columns: int) -> torch.Tensor:
            drawn = torch.empty(rows, columns, dtype=DTYPE, device=DEVICE)
            return drawn.normal_(0, columns**-0.5, generator=generator)

        n_qkv = (g.heads + 2 * g.key_heads) * g.dims
        self.layers = [
            (normal(n_qkv, g.width), normal(g.width, g.heads * g.dims), normal(2 * g.inner, g.width),
             normal(g.width, g.inner))
            for _ in range(g.layers)
        ]  # fmt: skip
        self.bias = torch.zeros(n_qkv, dtype=DTYPE, device=DEVICE) if g.bias else None
        self.norm = torch.ones(g.width, dtype=DTYPE, device=DEVICE)
        self.head = normal(g.words, g.width)

    def angles(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine [L, dims] of the rotary positions [L]."""
        steps = torch.arange(0, self.geometry.dims, 2, device=DEVICE) / self.geometry.dims
        turned = (positions[:, None] * self.geometry.base**-steps).repeat(1, 2)
        return turned.cos().to(DTYPE), turned.sin().to(DTYPE)

    def queries_and_keys(
        self, hidden: torch.Tensor, place: int, angles: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q [1, H, L, d], k and v [1, G, L, d] of one layer, turned."""
        g = self.geometry
        qkv = F.linear(F.rms_norm(hidden, (g.width,), self.norm, 1e-6), self.layers[place][0], self.bias)
        q, k, v = qkv.unflatten(-1, (-1, g.dims)).transpose(1, 2).split([g.heads, g.key_heads, g.key_heads], 1)
        return _turned(q, angles), _turned(k, angles), v

    def prefill(self, hidden: torch.Tensor, positions: torch.Tensor, cut: Cut | None = None) -> torch.Tensor:
        """Logits [1, words] of the last of `hidden` [1, L, width]; `cut` drops tokens on the way."""
        g, angles, cache = self.geometry, self.angles(positions), []
        for place, (_, out, up, down) in enumerate(self.layers):
            q, k, v = self.queries_and_keys(hidden, place, angles)
            cache.append((k, v))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=g.heads != g.key_heads)
            hidden = hidden + F.linear(mixed.transpose(1, 2).flatten(2), out)
            gate, value = F.linear(F.rms_norm(hidden, (g.width,), self.norm, 1e-6), up).chunk(2, -1)
            hidden = hidden + F.linear(F.silu(gate) * value, down)
            if cut and place + 1 == cut.layer:
                kept = cut.choose(q, k)
                hidden, angles = hidden[:, kept], (angles[0][kept], angles[1][kept])
        return F.linear(F.rms_norm(hidden[:, -1], (g.width,), self.norm, 1e-6), self.head)


@dataclass(frozen=True)
class Cut:
    """Before `layer` only the tokens that `choose(q, k)` names go on, from the layer before it."""

    layer: int
    choose: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Prefill:
    """A model, how many visual tokens it has, which share stays, and where the others leave."""

    geometry: Geometry
    n_visual: int
    where: str
    keep_ratio: float = 0.1

    @property
    def name(self) -> str:
        """What a row is called."""
        return f"{self.geometry.name}, {self.n_visual:,} visual tokens, {self.where}"

    @property
    def n_keep(self) -> int:
        """Visual tokens that stay."""
        return max(1, round(self.keep_ratio * self.n_visual))

    @torch.no_grad()
    def run(self) -> Row:
        """Time the prefill with and without, and the choice alone."""
        model = Decoder(self.geometry)
        length = self.n_visual + TEXT
        generator = torch.Generator(DEVICE).manual_seed(1)
        hidden = torch.randn(1, length, self.geometry.width, generator=generator, device=DEVICE).to(DTYPE)
        positions = torch.arange(length, device=DEVICE)
        q, k, _ = model.queries_and_keys(hidden, 1, model.angles(positions))
        if self.where == BEFORE:

            def select() -> torch.Tensor:
                return self._diverse(hidden)

            def pruned() -> torch.Tensor:
                kept = select()
                return model.prefill(hidden[:, kept], positions[kept])
        else:
            rows = torch.tensor([length - 1], device=DEVICE) if self.where == LAST else None

            def select() -> torch.Tensor:
                return self._attended(q, k, rows)

            def pruned() -> torch.Tensor:
                return model.prefill(hidden, positions, Cut(2, lambda q, k: self._attended(q, k, rows)))

        runs = [lambda: model.prefill(hidden, positions), pruned, select]
        times = measure_in_turn(runs, [()], Repeats(3, 50 if IS_GPU else 3, 20))
        full, short, chosen = map(quantiles, times)
        return Row(
            self.geometry.name, self.n_visual, self.n_keep, self.where, full, short, full.p50 / short.p50, chosen,
            chosen.p50 / short.p50,
        )  # fmt: skip

    def _diverse(self, hidden: torch.Tensor) -> torch.Tensor:
        """DivPrune on the visual tokens, which stand before the text; ascending positions."""
        picks = farthest_point(hidden[0, : self.n_visual], self.n_keep).sort().values
        return self._with_text(picks)

    def _attended(self, q: torch.Tensor, k: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """The visual tokens that `rows`, or all, attend to most."""
        received = attention_received(q, k, causal=True, query_rows=rows)[0].mean(0)
        return self._with_text(received[: self.n_visual].topk(self.n_keep).indices.sort().values)

    def _with_text(self, picks: torch.Tensor) -> torch.Tensor:
        return torch.cat([picks, torch.arange(self.n_visual, self.n_visual + TEXT, device=DEVICE)])


BEFORE = "before layer 0, by farthest_point"
LAST = "inside at layer 2, by the last token's attention"
ALL = "inside at layer 2, by all tokens' attention"


def prefills() -> list[Prefill]:
    """LLaVA-1.5 with one picture, LLaVA-1.6's number of tokens, and a picture of 1008 x 1008 in Qwen2.5-VL."""
    if not IS_GPU:
        return [Prefill(TINY, 40, where) for where in (BEFORE, LAST, ALL)]
    found = [Prefill(LLAVA, 576, BEFORE), Prefill(QWEN, 1296, BEFORE), Prefill(LLAVA, 2880, BEFORE)]
    return found + [Prefill(*shape, where) for shape in ((LLAVA, 576), (QWEN, 1296)) for where in (LAST, ALL)]


def _turned(x: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Rotary positions: the halves of each head turned against each other."""
    left, right = x.chunk(2, -1)
    return x * angles[0] + torch.cat([-right, left], -1) * angles[1]
