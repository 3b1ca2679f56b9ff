"""What every search for prompts promises. Each file of contextpruner/prompts/searches is enrolled by itself."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from contextpruner.prompts.evaluations import Evaluations
from contextpruner.prompts.run import Run
from contextpruner.prompts.search import SEARCHES, Found, Search, build_search, find_prompt
from contextpruner.prompts.task import RowScores
from prunekernels import registry, spec
from tests.contextpruner.prompts.toy_task import ToyTask
from tests.contextpruner.tiny_models import save_tiny_model

NAMES = registry.names(SEARCHES)
# words of one to three tokens, in an instruction and three shots; some stand twice
WORDS = "say who it the dome who is by the word it from by baked the it by is"
PART = [-1] * 3 + [0] * 5 + [1] * 5 + [2] * 5
# searches that go by no evaluations
ASK_NOTHING = ("lead", "llmlingua2")


def losses(kept: set[str]) -> list[float]:
    """Six rows, each with a word of its own that it wants, and a little for all that is there."""
    return [2.0 * (word not in kept) + 0.05 * len(kept) for word in ("who", "dome", "baked", "it", "word", "from")]


def task(protected: str = "") -> ToyTask:
    made = ToyTask(WORDS, losses, 6, part=PART, protected=protected)
    # equal words have equal vectors
    draw = np.random.default_rng(0)
    own = {word: draw.standard_normal(8) for word in sorted({*WORDS.split()})}
    made.vectors = np.array([own[word] for word in WORDS.split()], dtype=np.float32)
    return made


@pytest.fixture(scope="module", params=NAMES)
def search(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Search:
    if request.param == "llmlingua2":
        return build_search(f"llmlingua2:model={save_tiny_model('llmlingua2', tmp_path_factory.mktemp('m'))}")
    made = build_search(request.param)
    # few prompts are enough to keep promises
    small = {"steps": 2, "samples": 3, "draws": 4, "clusters": 5, "population": 4, "offspring": 4, "few": 2}
    small |= {"min_tokens": 2, "patience": 2, "most_dropped": 6}
    return dataclasses.replace(made, **{key: value for key, value in small.items() if hasattr(made, key)})


@cache
def full_tokens() -> int:
    return len(task().ids(np.ones(len(PART), dtype=bool)))


def run(search: Search, tokens: int, evaluations: int, seed: int = 0, protected: str = "") -> tuple[Found, ToyTask]:
    own = task(protected)
    return find_prompt(search, Run(own, tokens, evaluations, seed)), own


def test_a_search_is_a_frozen_dataclass_with_a_default_for_every_field(search: Search) -> None:
    kind = type(search)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert isinstance(kind(), Search)
    text = spec.describe(search, package=SEARCHES)
    assert build_search(text) == search
    assert (kind.__doc__ or "").strip()


@pytest.mark.parametrize("evaluations", [0, 1, 5, 6, 7, 29, 60, 100_000])
def test_both_budgets_are_exact(search: Search, evaluations: int) -> None:
    for tokens in (0, 7, full_tokens() // 2, full_tokens() - 1):
        found, own = run(search, tokens, evaluations)
        assert found.tokens == len(own.ids(found.candidate.kept)) <= tokens
        assert found.evaluations <= evaluations
        # an evaluation is a prompt on a row, and counts once: it was asked for as often as it is counted
        pairs = [(words.replace(" ", ""), row) for words, rows in own.asked for row in rows]
        assert len(pairs) == len({*pairs}) == found.evaluations


def test_what_comes_out_is_verbatim_and_every_dropped_piece_has_its_reason(search: Search) -> None:
    found, own = run(search, full_tokens() // 2, 500, protected="dome it")
    kept = found.candidate.kept
    assert kept[own.pieces.is_protected].all()
    assert own.pieces.join(kept) == "".join(np.array(WORDS.split())[kept])
    assert {*found.candidate.reasons} == {*np.flatnonzero(~kept).tolist()}
    assert all(found.candidate.reasons.values())


def test_the_same_seed_gives_the_same_and_memory_changes_nothing(search: Search) -> None:
    remembered = Evaluations()
    results = []
    for memory in (None, remembered, remembered):
        own = task()
        found = find_prompt(search, Run(own, full_tokens() // 2, 300, 3, memory))
        results.append((found.candidate.kept.tolist(), dict(found.candidate.reasons), found.evaluations, found.score))
    assert results[0] == results[1] == results[2]
    # the third asked nothing of the task
    assert own.asked == []


def test_a_prompt_without_shots_and_one_without_pieces(search: Search) -> None:
    own = ToyTask("say who it the dome", losses, 6)
    found = find_prompt(search, Run(own, 6, 200, 0))
    assert found.tokens <= 6
    empty = ToyTask("", losses, 6)
    found = find_prompt(search, Run(empty, 0, 200, 0))
    assert (found.tokens, found.evaluations) == (0, 0)


class Stopped(BaseException):
    """A kill, in a test."""


class StoppingTask(ToyTask):
    """One that is killed at its `stop_at`-th call."""

    stop_at = 0

    def score(self, kept: np.ndarray, rows: list[int]) -> RowScores:  # type: ignore[override]
        if len(self.asked) == self.stop_at:
            raise Stopped
        return super().score(kept, rows)


@pytest.mark.parametrize("stop_at", [0, 1, 3, 9])
def test_a_killed_search_goes_on_to_the_same_end(search: Search, stop_at: int, tmp_path: Path) -> None:
    whole, own = run(search, full_tokens() // 2, 300, seed=1)
    n_calls = len(own.asked)
    stopping = task()
    stopping.__class__ = StoppingTask
    stopping.stop_at = stop_at  # type: ignore[attr-defined]
    file = tmp_path / "evaluations.jsonl"
    try:
        with Evaluations.kept_in(file) as remembered:
            find_prompt(search, Run(stopping, full_tokens() // 2, 300, 1, remembered))
    except Stopped:
        # a line that was being written
        with open(file, "ab") as opened:
            opened.write(b'{"key": "00')
    again = task()
    with Evaluations.kept_in(file) as remembered:
        found = find_prompt(search, Run(again, full_tokens() // 2, 300, 1, remembered))
    assert found.candidate.kept.tolist() == whole.candidate.kept.tolist()
    assert dict(found.candidate.reasons) == dict(whole.candidate.reasons)
    assert (found.score, found.evaluations, found.front) == (whole.score, whole.evaluations, whole.front)
    assert len(again.asked) == max(n_calls - stop_at, 0)


def test_only_those_that_say_so_ask_nothing(search: Search) -> None:
    found, _ = run(search, full_tokens() // 2, 300)
    name = registry.name_of(SEARCHES, type(search))
    assert (found.evaluations == 0) is (name in ASK_NOTHING)
