"""The model that is asked, twice: whole, and with its tower's numbers for a picture; and the pictures that it is asked.

Where a method looks at the question, each question is a prompt of its own, and the tower would see a picture as often
as it is asked about: its numbers are made once, and go in where pixels do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.atp_model import Cached
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


@dataclass(frozen=True)
class Subject:
    """`whole` takes pixels, `given` what the last block of the tower says, [n, 257, D]; both float32."""

    whole: LlavaForConditionalGeneration
    given: LlavaForConditionalGeneration

    @staticmethod
    def load(folder: Path) -> Subject:
        """The model of `assembly`."""
        from transformers import LlavaForConditionalGeneration

        whole, given = (LlavaForConditionalGeneration.from_pretrained(folder).eval() for _ in range(2))
        given.model.vision_tower = Cached()
        return Subject(whole, given)

    @torch.inference_mode()
    def hidden(self, pixels: torch.Tensor) -> torch.Tensor:
        """What `given` takes for pixels [n, 3, H, W]."""
        tower = self.whole.model.vision_tower
        found: torch.Tensor = tower(pixels, output_hidden_states=True).hidden_states[-1]
        return found


@dataclass(frozen=True)
class Picture:
    """`pixels` float32 [1, 3, 224, 224] as the tower takes them, and what is asked."""

    pixels: torch.Tensor
    questions: list[Question]


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
