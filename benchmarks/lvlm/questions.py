"""Plain-English questions about a scene, with answers that follow from it.

| kind | question | answer |
|---|---|---|
| region | what is in the top left ? | a class, a digit or nothing |
| count | how many cats are there ? | 0 to 4 and more |
| colour | what color is the bag ? | one of six; the only one of its class |
| digit | which digit is green ? | the only one of that colour |
| relation | what is left of the dog ? | what stands in the next cell of the only one |
| number | what number is on the red sign ? | its digits, one token each |
| word | what word is on the red sign ? | its letters, one token each |

How often each is asked is chosen so that answers are even: who does not see the picture should not guess them.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from benchmarks.lvlm.scene import Scene
from benchmarks.lvlm.vocabulary import COLUMNS, EMOJI, FASHION, PLURALS, RELATIONS, ROWS

MAIN_KINDS = ("region", "count", "colour", "digit")
READING_KINDS = ("number", "word")
KINDS = (*MAIN_KINDS, "relation", *READING_KINDS)
MOST_COUNTED = 4
BE = {"trousers": "are"}
# how often a class that stands there none, one, ... times is counted
COUNTED = {0: 0.45, 1: 0.5, 2: 0.75}


@dataclass(frozen=True)
class Question:
    """`text` and `answer` are words of the vocabulary with spaces between them."""

    kind: str
    text: str
    answer: str


def questions_of(scene: Scene) -> list[Question]:
    """All that are asked about `scene`, in an order drawn by its seed."""
    draw = random.Random(scene.seed)
    found = _regions(scene, draw) + _counts(scene, draw) + _colours(scene) + _relations(scene, draw) + _signs(scene)
    draw.shuffle(found)
    return found


def _regions(scene: Scene, draw: random.Random) -> list[Question]:
    asked = [(item.cell, item.name) for item in scene.objects]
    empty = [(row, column) for row in range(3) for column in range(3) if (row, column) not in scene.covered]
    if empty and draw.random() < 0.6:
        asked.append((draw.choice(empty), "nothing"))
    return [Question("region", f"what is in the {ROWS[row]} {COLUMNS[column]} ?", it) for (row, column), it in asked]


def _counts(scene: Scene, draw: random.Random) -> list[Question]:
    counted = Counter(item.name for item in scene.objects if item.name in PLURALS)
    asked = [name for name, n in counted.items() if n > 1 and draw.random() < COUNTED.get(n, 1)]
    singles = [name for name, n in counted.items() if n == 1]
    absent = [name for name in (*EMOJI, *FASHION) if name not in counted]
    for n, names in ((1, singles), (0, absent)):
        if names and draw.random() < COUNTED[n]:
            asked.append(draw.choice(names))
    return [
        Question("count", f"how many {PLURALS[name]} are there ?", str(counted[name]))
        for name in asked
        if counted[name] <= MOST_COUNTED
    ]


def _colours(scene: Scene) -> list[Question]:
    objects = scene.objects
    names = Counter(item.name for item in objects)
    found = [
        Question("colour", f"what color {BE.get(item.name, 'is')} the {item.name} ?", item.colour)
        for item in objects
        if item.colour and names[item.name] == 1
    ]
    digits = [item for item in objects if item.name.isdigit()]
    colours = Counter(item.colour for item in digits)
    return found + [
        Question("digit", f"which digit is {item.colour} ?", item.name) for item in digits if colours[item.colour] == 1
    ]


def _relations(scene: Scene, draw: random.Random) -> list[Question]:
    """At most two; the answer is always something."""
    names = Counter(item.name for item in scene.objects)
    cells = {item.cell: item.name for item in scene.objects}
    found = []
    for item in scene.objects:
        for words, (down, right) in RELATIONS.items():
            beside = cells.get((item.cell[0] + down, item.cell[1] + right))
            if names[item.name] == 1 and beside:
                found.append(Question("relation", f"what is {words} the {item.name} ?", beside))
    return draw.sample(found, min(2, len(found)))


def _signs(scene: Scene) -> list[Question]:
    found = []
    for sign in scene.signs:
        text = str(sign.text)
        kind = "number" if text.isdigit() else "word"
        found.append(Question(kind, f"what {kind} is on the {sign.colour} sign ?", " ".join(text)))
    return found
