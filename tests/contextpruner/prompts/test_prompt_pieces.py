"""Prompts and their pieces: verbatim slices in order, whole characters, and what is never dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contextpruner.models.loading import tokenizer_of
from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.pieces import cut_prompt, token_ends
from contextpruner.prompts.prompt import Prompt, Shot, read_rows
from prunekernels.io.checkpoint import Checkpoint
from tests.contextpruner import tiny_checkpoints

HARD = "Née 穹顶。 👩\u200d🚀 e\u0301! \u00bd\r\n\tend  "


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece", "wordpiece"])
def ends(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[int]]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    getattr(tiny_checkpoints, request.param)(folder)
    from transformers import LlamaConfig

    tokenizer = tokenizer_of(Checkpoint(folder), LlamaConfig())
    return lambda text: token_ends(tokenizer, text)


def test_a_prompt_as_it_is_written() -> None:
    prompt = Prompt("Say.", "Q: {question}\nA:", (Shot("one", "1"), Shot("two", "2")))
    assert prompt.context == "Say.\n\nQ: one\nA: 1\n\nQ: two\nA: 2\n\n"
    assert prompt.parts == [(-1, "Say.\n\n"), (0, "Q: one\nA: 1\n\n"), (1, "Q: two\nA: 2\n\n")]
    assert prompt.asked("three {question}") == "Q: three {question}\nA:"
    assert Prompt().context == ""
    assert Prompt("Say.").parts == [(-1, "Say.\n\n")]


def test_pieces_partition_any_prompt_and_cut_no_character(ends: Callable[[str], list[int]]) -> None:
    prompt = Prompt(HARD, "Q: {question}\nA:", (Shot(HARD, HARD), Shot("", "x")), "\n")
    pieces = cut_prompt(prompt, ends)
    assert "".join(pieces.texts) == prompt.context
    assert all(pieces.texts)
    for character in ("👩\u200d🚀", "e\u0301", "\r\n", "é"):
        assert sum(character in text for text in pieces.texts) == 3 * HARD.count(character)
    # each part has its own
    for number, text in prompt.parts:
        assert "".join(pieces.texts[place] for place in np.flatnonzero(pieces.part == number)) == text
    kept = np.arange(len(pieces)) % 3 > 0
    joined = pieces.join(kept)
    at = 0
    for place in np.flatnonzero(kept):
        assert joined.startswith(pieces.texts[place], at)
        at += len(pieces.texts[place])
    assert at == len(joined)


def test_no_context_has_no_pieces(ends: Callable[[str], list[int]]) -> None:
    pieces = cut_prompt(Prompt(), ends)
    assert len(pieces) == 0
    assert pieces.join(np.zeros(0, dtype=bool)) == ""


def test_protected_pieces_are_those_with_the_pattern() -> None:
    prompt = Prompt("Add 12 and 3.", "{question}:", (), "\n")
    pieces = cut_prompt(prompt, lambda text: [*range(1, len(text) + 1)], (r"\d", r"\n"))
    assert [pieces.texts[place] for place in np.flatnonzero(pieces.is_protected)] == ["1", "2", "3", "\n"]
    assert len(pieces.free) == len(pieces) - 4


def test_candidates_keep_their_first_reasons_and_change_nothing() -> None:
    full = Candidate.full(4)
    one = full.without([1, 2], "first")
    two = one.without([2, 3], "second")
    assert full.kept.all()
    assert dict(two.reasons) == {1: "first", 2: "first", 3: "second"}
    back = two.adding([1, 3])
    assert back.kept.tolist() == [True, True, False, True]
    assert dict(back.reasons) == {2: "first"}


def test_rows_are_read_with_their_places() -> None:
    lines = [
        ("a:1", b'{"question": "one", "answer": "1", "more": [2]}'),
        ("a:2", b'{"question": "two", "answer": " "}'),
    ]
    assert read_rows(lines, 1) == [Shot("one", "1")]
    with pytest.raises(ValueError, match="^a:2: want an answer that is not empty"):
        read_rows(lines, 2)
    with pytest.raises(ValueError, match="^a:3: want a key 'answer'"):
        read_rows([("a:3", b'{"question": "x"}')], 5)


@pytest.mark.parametrize("form", ["no place", "{question} and {question}"])
def test_a_form_has_one_place(form: str) -> None:
    with pytest.raises(ValueError, match="want a form of questions with {question} once"):
        Prompt("", form)
