"""What is drawn, and what is asked about it: the same for the same seed, right by the scene, and nothing shared."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.lvlm.drawing import draw
from benchmarks.lvlm.questions import KINDS as QUESTIONS
from benchmarks.lvlm.questions import Question, questions_of
from benchmarks.lvlm.scene import KINDS, PATCH, Scene, draw_scene, is_numbered
from benchmarks.lvlm.sprites import SPLITS, Sprites
from benchmarks.lvlm.vocabulary import (
    COLUMNS,
    CONTENTS,
    PLURALS,
    RELATIONS,
    ROWS,
    SIGN_WORDS,
    TINTS,
    UNKNOWN,
    ids_of,
)
from benchmarks.lvlm.vocabulary import IDS as VOCABULARY

SCENES = [draw_scene(kind, split, number) for kind in KINDS for split in SPLITS for number in range(40)]


def truth(scene: Scene, question: Question) -> set[str]:
    """Every answer that the scene allows, found by looking at it and not by how the question was made."""
    words = question.text.split()
    by_cell = {item.cell: item.name for item in scene.objects}
    if question.kind == "region":
        cell = ROWS.index(words[-3]), COLUMNS.index(words[-2])
        return {by_cell.get(cell, "nothing" if cell not in scene.covered else "")}
    if question.kind == "count":
        return {str(sum(PLURALS.get(item.name) == words[2] for item in scene.objects))}
    if question.kind == "colour":
        return {str(item.colour) for item in scene.objects if item.name == words[-2]}
    if question.kind == "digit":
        return {item.name for item in scene.objects if item.name.isdigit() and item.colour == words[-2]}
    if question.kind == "relation":
        down, right = RELATIONS[" ".join(words[2:-3])]
        cells = [cell for cell, name in by_cell.items() if name == words[-2]]
        return {by_cell[row + down, column + right] for row, column in cells}
    return {" ".join(str(sign.text)) for sign in scene.signs if sign.colour == words[-3]}


def test_answers_follow_from_the_scene() -> None:
    asked = Counter()
    for scene in SCENES:
        for question in questions_of(scene):
            assert truth(scene, question) == {question.answer}, (question, scene)
            assert VOCABULARY[UNKNOWN] not in ids_of(question.text) + ids_of(question.answer)
            asked[question.kind] += 1
    assert set(asked) == set(QUESTIONS)
    assert min(asked.values()) > 50


def test_the_same_seed_draws_the_same(sprites: Sprites) -> None:
    for kind in KINDS:
        first, second, other = (draw_scene(kind, "train", number) for number in (7, 7, 8))
        assert first == second != other
        assert questions_of(first) == questions_of(second)
        one, two = draw(first, sprites), draw(second, sprites)
        assert one.picture.tobytes() == two.picture.tobytes()
        assert np.array_equal(one.labels, two.labels)


def test_no_two_splits_share_a_printed_number() -> None:
    numbers = [str(number) for number in range(10, 9999, 7)]
    for text in numbers:
        assert sum(is_numbered(text, split) for split in SPLITS) == 1
    shares = [np.mean([is_numbered(text, split) for text in numbers]) for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
    for scene in SCENES:
        for sign in scene.signs:
            assert sign.text in SIGN_WORDS or is_numbered(str(sign.text), scene.split)


def test_everything_lies_inside_and_nothing_over_another() -> None:
    for scene in [*SCENES, *(draw_scene(kind, "train", 1, (6, 11)) for kind in KINDS)]:
        seen = np.zeros((scene.size[1] + 1, scene.size[0] + 1), int)
        for item in scene.items:
            left, top, width, height = item.box
            assert left >= 0
            assert top >= 0
            assert left + width <= scene.size[0]
            assert top + height <= scene.size[1]
            seen[round(top) + 1 : round(top + height), round(left) + 1 : round(left + width)] += 1
        assert seen.max() == 1


@pytest.mark.parametrize("grid", [(16, 16), (12, 16), (24, 24)])
@pytest.mark.parametrize("kind", KINDS)
def test_patches_are_labelled_by_what_is_there(sprites: Sprites, kind: str, grid: tuple[int, int]) -> None:
    for number in range(4):
        scene = draw_scene(kind, "train", number, grid)
        drawn = draw(scene, sprites)
        assert drawn.picture.size == scene.size == (grid[1] * PATCH, grid[0] * PATCH)
        labels = drawn.labels.reshape(*grid, 4)
        for item in scene.objects:
            left, top, width, height = item.box
            patch = labels[int((top + height / 2) / PATCH), int((left + width / 2) / PATCH)]
            if kind != "small":
                assert CONTENTS[patch[0]] == item.name
                assert TINTS[patch[1]] == (item.colour or "none")
                assert (patch[3] // 3, patch[3] % 3) == item.cell
        for sign in scene.signs:
            rows = [labels[row] for row in range(grid[0]) if row * PATCH // (scene.size[1] / 3) == sign.cell[0]]
            shown = {CONTENTS[content] for row in rows for content in row[:, 0]}
            assert set(str(sign.text)) <= shown
