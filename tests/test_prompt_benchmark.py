"""The benchmark of searches for prompts: what a seed draws of each set, and its rows over seeds."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from benchmarks.prompts.searches import BY_LOT, over_seeds, rows_of_set, verdict
from benchmarks.prompts.sets import Sizes, prompt_set
from contextpruner.prompts.report.result import Baseline, TunedPrompt, TuneResult
from contextpruner.prompts.verdict import Interval, Scores


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    intents = ("PlayMusic", "GetWeather", "rate_book")
    snips = [
        {"split": split, "tokens": ["say", f"{split}{n}"], "intent": intents[n % 3]}
        for split in ("train", "dev", "test")
        for n in range(12)
    ]
    write(tmp_path / "snips_slots.jsonl.xz", [*snips, {"split": "test", "text": "say train1", "intent": "rate_book"}])
    wide = [
        {"split": split, "text": f"{split} {n}", "intent": "oos" if n == 7 else f"card_{'abcde'[n % 5]}"}
        for split in ("train", "test")
        for n in range(30)
    ]
    for name in ("banking77", "clinc150"):
        write(tmp_path / f"{name}.jsonl.xz", wide)
    problems = [{"question": f"How many? {n}", "answer": f"It is <<{n}*1={n}>>{n}.\n#### {n}"} for n in range(20)]
    long = {"question": "x" * 300, "answer": "1\n#### 1"}
    for split, rows in (("train", problems[:12]), ("test", [*problems[12:], long, problems[0]])):
        write(tmp_path / f"gsm8k_{split}.jsonl.xz", rows)
    return tmp_path


def test_what_a_seed_draws(data: Path) -> None:
    for name, labels in (("snips", 3), ("banking77", 2), ("clinc150", 2), ("gsm8k", 0)):
        one = prompt_set(name, data, Sizes(max(labels, 2), 4, 3, 5), 0)
        assert len(one.labels) == labels
        assert (len(one.prompt.shots), len(one.development), len(one.held_out)) == (4, 3, 5)
        questions = [shot.question for shot in (*one.prompt.shots, *one.development, *one.held_out)]
        assert len({*questions}) == 12
        if labels:
            assert {shot.answer for shot in one.prompt.shots} == {*one.labels}
            assert {shot.answer for shot in (*one.development, *one.held_out)} <= {*one.labels}
        assert one == prompt_set(name, data, Sizes(max(labels, 2), 4, 3, 5), 0)
        assert one.prompt.shots != prompt_set(name, data, Sizes(max(labels, 2), 4, 3, 5), 1).prompt.shots
    assert prompt_set("snips", data, Sizes(3, 4, 3, 99), 0).labels == ("get weather", "play music", "rate book")
    # what was held out is in no row to learn from
    assert "say train1" not in [shot.question for shot in prompt_set("snips", data, Sizes(3, 4, 3, 99), 0).held_out]
    problem = prompt_set("gsm8k", data, Sizes(2, 4, 3, 99), 0)
    assert len(problem.held_out) == 8
    assert problem.held_out[0].answer == "It is {0}.\nThe answer is {0}.".format(
        problem.held_out[0].question.split()[-1]
    )


def scores(mean: float) -> Scores:
    return Scores(Interval(-mean, -mean, -mean), Interval(mean, mean, mean))


def result(level: float) -> TuneResult:
    prompts = tuple(
        TunedPrompt(
            search, tokens, tokens, 10, 2.0, scores(level + 0.2), scores(level), scores(level - 0.1), scores(-0.2),
            scores(0.1), {}, (), "",
        )
        for tokens in (8, 4)
        for search in ("lead", "greedy")
    )  # fmt: skip
    bases = (Baseline("full", 16, scores(0.9), scores(level + 0.2)), Baseline("none", 0, scores(0.1), scores(0.1)))
    return TuneResult("m", "likelihood", True, 4, 8, 0, bases, prompts)


def test_rows_over_seeds() -> None:
    rows = [*rows_of_set("snips", [result(0.5), result(0.7)], (0.5, 0.25))]
    named = [(row.search, row.keep_ratio) for row in rows]
    assert named == [("full prompt", None), ("no prompt", None), (BY_LOT, 0.5), ("lead", 0.5), ("greedy", 0.5),
                     (BY_LOT, 0.25), ("lead", 0.25), ("greedy", 0.25)]  # fmt: skip
    greedy = rows[4]
    assert (greedy.seeds, greedy.tokens, greedy.evaluations, greedy.seconds) == (2, 8, 10, 2.0)
    assert greedy.held_out == pytest.approx(0.6)
    # Student's t of one degree of freedom
    assert greedy.high == pytest.approx(0.6 + 12.706 * 0.1, abs=1e-3)
    assert (greedy.to_random, greedy.verdict) == (pytest.approx(0.1), "beats random dropping")
    assert rows[2].held_out == pytest.approx(0.5)
    assert (rows[2].development, rows[2].to_random, rows[2].verdict) == (None, None, "")
    assert over_seeds([3.0]) == (3, None, None)
    assert verdict(-1, 1) == "does not beat random dropping"
    assert verdict(-2, -1) == "worse than random dropping"
    assert verdict(None, None) == "one seed tells nothing"
