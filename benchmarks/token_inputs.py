"""What a token method chooses from, drawn: embeddings, text, vision tower, attention of a layer or a block, at one size.

Embeddings are 896 numbers wide (LLaVA-OneVision's smallest decoder) around 200 centres; the tower has 16 heads of 64
(CLIP-L), a decoder layer 4 of 64, a block of a vision transformer 3 of 64 (DeiT-Ti).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tokenpruner import BlockContext, BlockMethod, LayerContext, LayerMethod, Method, TokenMethod
from tokenpruner.before_decoder.selection import Sequences, select_tokens
from tokenpruner.models.attention import Attention
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.tower_reading import TowerReading

WIDTH, CENTRES, TEXT = 896, 200, 40
LAYERS, HEADS = 32, 3


@dataclass(frozen=True)
class Scene:
    """`n` visual tokens of an image with this `grid`, or of a video of frames with it."""

    grid: tuple[int, int]
    n_frames: int = 1
    seed: int = 0
    visual: torch.Tensor = field(init=False)
    text: torch.Tensor = field(init=False)
    reading: TowerReading = field(init=False)
    attention: Attention = field(init=False)

    def __post_init__(self) -> None:
        draw = torch.Generator().manual_seed(self.seed)
        n = self.n
        centres = torch.randn(CENTRES, WIDTH, generator=draw)
        # a frame looks like the one before it: places keep their centres, and two of three are nearly still
        size = self.grid[0] * self.grid[1]
        place = torch.randint(CENTRES, (size,), generator=draw).repeat(self.n_frames)
        spread = torch.where(torch.rand(size, generator=draw) < 2 / 3, 0.3, 1.0).repeat(self.n_frames)
        attended = torch.randn(n, generator=draw)
        reading = TowerReading(
            (2 * attended).softmax(0), (2 * attended + 0.1 * torch.randn(n, generator=draw)).softmax(0),
            torch.randn(n, 16, 64, generator=draw),
        )  # fmt: skip
        for name, value in (
            ("visual", centres[place] + spread[:, None] * torch.randn(n, WIDTH, generator=draw)),
            ("text", torch.randn(TEXT, WIDTH, generator=draw)),
            ("reading", reading),
            ("attention", Attention(*torch.randn(2, 4, n + TEXT, 64, generator=draw), scaling=64**-0.5)),
        ):
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """All its tokens."""
        return self.grid[0] * self.grid[1] * self.n_frames

    @property
    def frames(self) -> list[torch.Tensor]:
        """The embeddings of each frame, [P, D]."""
        return [*self.visual.chunk(self.n_frames)]


def chosen_by(method: TokenMethod, scene: Scene) -> Callable[[], torch.Tensor] | None:
    """What the engine does when `method` is to choose: the tokens that stay, int64 [n], their embeddings made; or None.

    None is for a kind of method that chooses of something else.
    """
    if isinstance(method, Method):
        return lambda: _before(method, scene)
    if isinstance(method, LayerMethod):
        return lambda: _inside(method, scene)
    if isinstance(method, BlockMethod):
        return lambda: _block(method, scene)
    return None


def _before(method: Method, scene: Scene) -> torch.Tensor:
    """The row is the image and the text behind it."""
    embeds = torch.cat([scene.visual, scene.text])[None]
    columns = torch.arange(scene.n)
    images = [
        ImageTokens(0, 0, own, frame, (scene.grid,), reading=scene.reading, read_columns=columns)
        for frame, own in enumerate(columns.chunk(scene.n_frames))
    ]
    mask = torch.ones(embeds.shape[:2], dtype=torch.bool)
    selected = select_tokens(Sequences(embeds, mask), images, method, lambda size: None)
    left = (~selected.dropped[0]).nonzero().flatten()
    selected.with_merged(embeds)[0, left]
    return left[left < scene.n]


def _inside(method: LayerMethod, scene: Scene) -> torch.Tensor:
    """At the first cut of a decoder of 32 layers."""
    columns = torch.arange(scene.n)
    context = LayerContext(
        hidden=scene.visual, kept=columns, size=scene.n, stage=method.stages(LAYERS)[0], columns=columns,
        text=torch.arange(scene.n, scene.n + TEXT), attention=scene.attention,
        grid=scene.grid, row_sizes=(scene.n,), n_others=TEXT, text_hidden=scene.text, costs=(None,) * LAYERS,
    )  # fmt: skip
    picks = method.select(context)
    scene.visual[picks]
    return picks


def _block(method: BlockMethod, scene: Scene) -> torch.Tensor:
    """Behind the first of 12 blocks, where a quarter of the patches leaves."""
    q, k = (own[None, :HEADS, : scene.n] for own in (scene.attention.q, scene.attention.k))
    context = BlockContext(scene.visual[None, :, : 64 * HEADS].contiguous(), 0, 12, queries=q, keys=k)
    return method.reduce(context, scene.n // 4).kept[0]


