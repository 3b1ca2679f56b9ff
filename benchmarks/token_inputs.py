"""What a token method chooses from, drawn: embeddings, text, vision tower, attention of a layer or a block.

Embeddings are 896 numbers wide (LLaVA-OneVision's smallest decoder) around 200 centres; the tower has 16 heads of 64
(CLIP-L), a decoder layer 4 of 64, a block of a vision transformer 3 of 64 (DeiT-Ti).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tokenpruner import BlockContext, BlockMethod, Context, LayerContext, LayerMethod, Method, TokenMethod
from tokenpruner.models.attention import Attention
from tokenpruner.models.tower_reading import TOWER, TowerReading

WIDTH, CENTRES, TEXT = 896, 200, 40
LAYERS, HEADS = 32, 3


@dataclass(frozen=True)
class Scene:
    """`n` visual tokens of an image with this `grid`, or of a video of frames with it."""

    grid: tuple[int, int]
    n_frames: int = 1
    seed: int = 0
    row: torch.Tensor = field(init=False)
    class_attention: torch.Tensor = field(init=False)
    joint_attention: torch.Tensor = field(init=False)
    keys: torch.Tensor = field(init=False)
    attention: Attention = field(init=False)

    def __post_init__(self) -> None:
        draw = torch.Generator().manual_seed(self.seed)
        n = self.n
        centres = torch.randn(CENTRES, WIDTH, generator=draw)
        # a frame looks like the one before it: places keep their centres, and two of three are nearly still
        size = self.grid[0] * self.grid[1]
        place = torch.randint(CENTRES, (size,), generator=draw).repeat(self.n_frames)
        spread = torch.where(torch.rand(size, generator=draw) < 2 / 3, 0.3, 1.0).repeat(self.n_frames)
        attended, noise = torch.randn(n, generator=draw), torch.randn(n + TEXT, WIDTH, generator=draw)
        again = 0.1 * torch.randn(n, generator=draw)
        tower_keys, (q, k) = torch.randn(n, 16, 64, generator=draw), torch.randn(2, 4, n + TEXT, 64, generator=draw)
        for name, value in (
            ("row", torch.cat([centres[place] + spread[:, None] * noise[:n], noise[n:]])),
            ("class_attention", (2 * attended).softmax(0)),
            ("joint_attention", (2 * attended + again).softmax(0)),
            ("keys", tower_keys),
            ("attention", Attention(q, k, scaling=64**-0.5)),
        ):
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """All its tokens."""
        return self.grid[0] * self.grid[1] * self.n_frames

    @property
    def visual(self) -> torch.Tensor:
        """Their embeddings [N, D]."""
        return self.row[: self.n]

    @property
    def text(self) -> torch.Tensor:
        """Those of the text behind them [T, D]."""
        return self.row[self.n :]


def chosen_by(method: TokenMethod, scene: Scene) -> Callable[[], torch.Tensor] | None:
    """What is done when `method` is to choose: the tokens that stay, int64 [n], and which go into which.

    None is for a kind of method that chooses of something else.
    """
    if isinstance(method, Method):
        contexts = contexts_of(method, scene)
        return lambda: _before(method, contexts)
    if isinstance(method, LayerMethod):
        return lambda: _inside(method, scene)
    if isinstance(method, BlockMethod):
        return lambda: _block(method, scene)
    return None


def contexts_of(method: Method, scene: Scene) -> list[Context]:
    """The frames as the engine hands them over: of the text and of the tower what the method reads."""
    frames, text = scene.visual.chunk(scene.n_frames), scene.text if "text" in method.needs else None
    needed = {name: getattr(scene, name).chunk(scene.n_frames) for name in sorted(TOWER & method.needs)}
    video = frames if len(frames) > 1 else ()
    return [
        Context(
            visual, scene.grid, text=text, frame=number, video=video,
            tower=TowerReading(**{name: own[number] for name, own in needed.items()}) if needed else None,
        )
        for number, visual in enumerate(frames)
    ]  # fmt: skip


def _before(method: Method, contexts: list[Context]) -> torch.Tensor:
    """Of a row that is an image or a video and the text behind it."""
    chosen = method.select_frames(contexts, method.counts([context.size for context in contexts]))
    for context, picks in zip(contexts, chosen.picks, strict=True):
        if chosen.merge is None and 0 < len(picks) < context.size:
            method.merge(context, picks)
    first = torch.tensor([0, *(context.size for context in contexts)]).cumsum(0)
    return torch.cat([picks + start for picks, start in zip(chosen.picks, first, strict=False)])


def _inside(method: LayerMethod, scene: Scene) -> torch.Tensor:
    """At the first cut of a decoder of 32 layers."""
    columns = torch.arange(scene.n)
    context = LayerContext(
        hidden=scene.visual, kept=columns, size=scene.n, stage=method.stages(LAYERS)[0], columns=columns,
        text=torch.arange(scene.n, scene.n + TEXT), attention=scene.attention,
        grid=scene.grid, row_sizes=(scene.n,), n_others=TEXT, text_hidden=scene.text, costs=(None,) * LAYERS,
        embeds=scene.visual, text_embeds=scene.text,
    )  # fmt: skip
    picks = method.select(context)
    if len(picks) < scene.n:
        method.merge(context, picks)
    return picks


def _block(method: BlockMethod, scene: Scene) -> torch.Tensor:
    """Behind the first of 12 blocks, where a quarter of the patches leaves."""
    q, k = (own[None, :HEADS, : scene.n] for own in (scene.attention.q, scene.attention.k))
    context = BlockContext(scene.visual[None, :, : 64 * HEADS].contiguous(), 0, 12, queries=q, keys=k)
    return method.reduce(context, scene.n // 4).kept[0]
