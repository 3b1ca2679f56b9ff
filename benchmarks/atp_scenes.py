"""Pictures with questions about them, drawn anew: digits of scikit-learn in six colours on a 3 x 3 grid, with clutter.

Four kinds of question, each answered by one word: what is in a cell, how many of a digit there are, what colour a
digit is, which digit has a colour. Digits of training and of test are other handwritings.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits

SIZE, CELLS, N_TRAIN_DIGITS = 224, 3, 1300
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (225, 200, 40),
    "purple": (150, 60, 190),
    "orange": (240, 130, 30),
}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLACES = [f"{line} {column}" for line in ("top", "middle", "bottom") for column in ("left", "center", "right")]
SPECIAL = ("<pad>", "<end>", "<image>")
WORDS = (
    *SPECIAL,
    *(["what", "is", "in", "the", "how", "many", "are", "there", "color", "which", "digit", "nothing", "?"]),
    *sorted({word for place in PLACES for word in place.split()}),
    *COLOURS,
    *NUMBERS,
    *map(str, range(10)),
)
IDS = {word: number for number, word in enumerate(WORDS)}
PAD, END, IMAGE = (IDS[word] for word in SPECIAL)


@dataclass(frozen=True)
class Question:
    """Words in, a word out; `kind` is "region", "count", "colour" or "digit"."""

    kind: str
    words: tuple[str, ...]
    answer: str

    @property
    def ids(self) -> list[int]:
        """The question as tokens."""
        return [IDS[word] for word in self.words]

    @property
    def answer_id(self) -> int:
        """The answer as a token."""
        return IDS[self.answer]


class Scenes:
    """Draws scenes; `held_out` takes the other handwritings."""

    def __init__(self, seed: int, *, held_out: bool = False) -> None:
        digits = load_digits()
        part = slice(N_TRAIN_DIGITS, None) if held_out else slice(N_TRAIN_DIGITS)
        self.strokes = torch.tensor(digits.images[part] / 16.0, dtype=torch.float32)
        self.labels = np.asarray(digits.target[part])
        self.random = random.Random(seed)

    def draw(self) -> tuple[torch.Tensor, list[Question]]:
        """A picture, uint8 [3, 224, 224], and its questions in any order."""
        picture = self._clutter()
        cells = self.random.sample(range(CELLS**2), self.random.randint(4, 8))
        found: dict[int, tuple[int, str]] = {}
        for cell in cells:
            number = self.random.randrange(len(self.labels))
            colour = self.random.choice(list(COLOURS))
            self._put(picture, cell, self.strokes[number], COLOURS[colour])
            found[cell] = (int(self.labels[number]), colour)
        questions = self._questions(found)
        self.random.shuffle(questions)
        return picture.to(torch.uint8), questions

    def _clutter(self) -> torch.Tensor:
        level = self.random.randint(190, 245)
        picture = torch.full((3, SIZE, SIZE), float(level))
        for _ in range(self.random.randint(10, 25)):
            top, left = self.random.randrange(SIZE - 8), self.random.randrange(SIZE - 8)
            height, width = self.random.choice([(2, 40), (40, 2), (5, 5)])
            grey = self.random.randint(90, 180)
            picture[:, top : top + height, left : left + width] = grey
        return picture

    def _put(self, picture: torch.Tensor, cell: int, stroke: torch.Tensor, colour: tuple[int, int, int]) -> None:
        side, room = self.random.randint(40, 60), SIZE // CELLS
        grown = torch.nn.functional.interpolate(stroke[None, None], size=(side, side), mode="bilinear")[0, 0]
        top = cell // CELLS * room + self.random.randint(0, room - side)
        left = cell % CELLS * room + self.random.randint(0, room - side)
        where = picture[:, top : top + side, left : left + side]
        where += grown.clamp(0, 1) * (torch.tensor(colour)[:, None, None] - where)

    def _questions(self, found: dict[int, tuple[int, str]]) -> list[Question]:
        questions = []
        for cell, place in enumerate(PLACES):
            answer = str(found[cell][0]) if cell in found else "nothing"
            if cell in found or self.random.random() < 0.5:
                questions.append(Question("region", (*f"what is in the {place} ?".split(),), answer))
        digits, colours = [digit for digit, _ in found.values()], [colour for _, colour in found.values()]
        for digit in sorted({*digits, self.random.randrange(10)}):
            asked = f"how many {digit} are there ?".split()
            questions.append(Question("count", (*asked,), NUMBERS[digits.count(digit)]))
        for digit, colour in found.values():
            if digits.count(digit) == 1:
                questions.append(Question("colour", (*f"what color is the {digit} ?".split(),), colour))
            if colours.count(colour) == 1:
                questions.append(Question("digit", (*f"which digit is {colour} ?".split(),), str(digit)))
        return questions
