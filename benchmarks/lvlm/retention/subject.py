"""The model that is asked, whole and from a place of its tower on; and the pictures that it is asked about.

What the tower says of a picture hangs on the picture alone, but for methods inside the tower. So it is made once for
all methods and all questions, and goes in where pixels do: behind the last block for methods that read none of them,
and before the last `LAST` blocks for those that read one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.cached_tower import Cached
from benchmarks.lvlm.drawing import draw
from benchmarks.lvlm.features import Shard
from benchmarks.lvlm.questions import MAIN_KINDS, READING_KINDS, Question, questions_of
from benchmarks.lvlm.recipe import Pictures
from benchmarks.lvlm.scene import draw_scene
from benchmarks.lvlm.sprites import Sprites
from benchmarks.lvlm.tower import pixels_of

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

GRID = (16, 16)
# blocks of the tower that methods read
LAST = 2
# pictures that go through the tower together
BATCH = 8


@dataclass(frozen=True, eq=False)
class Picture:
    """`pixels` float32 [1, 3, 224, 224] as the tower takes them, and what is asked."""

    pixels: torch.Tensor
    questions: list[Question]


@dataclass(frozen=True)
class Encoded:
    """What the tower says of a picture before its last `LAST` blocks and behind them, [257, D]."""

    late: torch.Tensor
    hidden: torch.Tensor


@dataclass(frozen=True)
class Subject:
    """`whole` takes pixels, `late` and `given` what `Encoded` holds, [n, 257, D]; all float32 on one device."""

    whole: LlavaForConditionalGeneration
    late: LlavaForConditionalGeneration
    given: LlavaForConditionalGeneration
    encoded: dict[Picture, Encoded] = field(default_factory=dict)

    @staticmethod
    def load(folder: Path, device: torch.device | str = "cpu") -> Subject:
        """The model of `assembly`."""
        from transformers import LlavaForConditionalGeneration

        kind = LlavaForConditionalGeneration
        whole, late, given = (kind.from_pretrained(folder, dtype=torch.float32).eval().to(device) for _ in range(3))
        given.model.vision_tower = Cached()
        tower = late.model.vision_tower
        # its weights stay: they tell that there is a class token
        tower.embeddings.forward = _as_given
        tower.encoder.layer = tower.encoder.layer[-LAST:]
        tower.config.num_hidden_layers = len(tower.encoder.layer)
        return Subject(whole, late, given)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.whole.device

    @torch.inference_mode()
    def hidden(self, pixels: torch.Tensor) -> torch.Tensor:
        """What `given` takes for pixels [n, 3, H, W]."""
        return self._states(pixels)[-1]

    @torch.inference_mode()
    def seen(self, pictures: Sequence[Picture]) -> list[Encoded]:
        """What the tower says of each picture, made where it is not known."""
        unknown = [one for one in pictures if one not in self.encoded]
        for first in range(0, len(unknown), BATCH):
            own = unknown[first : first + BATCH]
            states = self._states(torch.cat([one.pixels for one in own]))
            for one, late, hidden in zip(own, states[-1 - LAST], states[-1], strict=True):
                self.encoded[one] = Encoded(late.clone(), hidden.clone())
        return [self.encoded[one] for one in pictures]

    def _states(self, pixels: torch.Tensor) -> Sequence[torch.Tensor]:
        """What enters each block, and what leaves the last."""
        tower = self.whole.model.vision_tower
        found: Sequence[torch.Tensor] = tower(pixels.to(self.device), output_hidden_states=True).hidden_states
        return found


def _as_given(pixel_values: torch.Tensor, bool_masked_pos: torch.Tensor | None = None) -> torch.Tensor:
    """In place of a tower's embeddings, where what is given is what its first blocks say."""
    return pixel_values


def pictures(kind: str, split: str, n_questions: int, sprites: Sprites) -> list[Picture]:
    """The first pictures of a held-out split, until so many questions are asked: those of `accuracy`, and more."""
    wanted = READING_KINDS if kind == "reading" else MAIN_KINDS
    found: list[Picture] = []
    n = 0
    for number in Shard(Pictures(split, kind, GRID, n_questions), 0, n_questions).numbers:
        if n >= n_questions:
            break
        scene = draw_scene(kind, split, number, GRID)
        questions = [one for one in questions_of(scene) if one.kind in wanted]
        if questions:
            found.append(Picture(pixels_of(draw(scene, sprites).picture), questions))
            n += len(questions)
    return found
