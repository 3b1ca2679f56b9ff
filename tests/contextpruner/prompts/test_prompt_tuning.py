"""A prompt tuned from a file of YAML on a tiny model: the report, its page, the command, and going on."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from contextpruner.cli import app
from contextpruner.prompts.evaluations import Evaluations
from contextpruner.prompts.prompt import Shot
from contextpruner.prompts.report.page import page
from contextpruner.prompts.report.result import Baseline, Piece, TunedPrompt, TuneResult
from contextpruner.prompts.settings import read_tune_settings
from contextpruner.prompts.task import RowScores
from contextpruner.prompts.tuning import tune
from contextpruner.prompts.verdict import Interval, Scores, average, by_lot, difference, mean_of
from tests.contextpruner import tiny_checkpoints
from tests.contextpruner.prompts.toy_task import ToyTask, copies

DEVELOPMENT = [Shot("the dome", "it"), Shot("who is it?", "is"), Shot("a word", "it")]
HELD_OUT = [Shot(f"{word} <b>ü</b>", answer) for word in ("it", "baked", "dome", "穹") for answer in ("it", "is")]
SHOTS = [Shot("who & <i>why</i>", "it"), Shot("baked", "is")]


def written(path: Path, rows: list[Shot]) -> str:
    path.write_text("".join(json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_checkpoints.causal_lm(tmp_path_factory.mktemp("lm")))


def config(folder: Path, model: str, **more: object) -> Path:
    held = {
        "work": str(folder / "work"),
        "model": {"name": model, "device": "cpu", "window": 128},
        "development": written(folder / "development.jsonl", DEVELOPMENT),
        "held_out": written(folder / "held_out.jsonl", HELD_OUT),
        "shots": written(folder / "shots.jsonl", SHOTS),
        "prompt": {"instruction": "Say.", "question": "Q: {question} A:", "separator": "\n"},
        "labels": ["it", "is"],
        "searches": ["random:draws=3", "greedy:at_once=9"],
        "keep_ratios": [0.6, 0.3],
        "max_evaluations": 120,
        "random_draws": 2,
        "seed": 4,
    }
    path = folder / "tune.yaml"
    path.write_text(yaml.safe_dump({**held, **more}, allow_unicode=True), "utf-8")
    return path


class Text(HTMLParser):
    """The text of marks and deletions on a page, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.kept = self.dropped = ""
        self.open: list[str] = []
        self.in_text = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.in_text = self.in_text or ("class", "text") in attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass
        self.in_text = self.in_text and tag != "p"

    def handle_data(self, data: str) -> None:
        if self.in_text and "mark" in self.open:
            self.kept += data
        if self.in_text and "del" in self.open:
            self.dropped += data


def test_a_prompt_is_tuned_from_a_file(tmp_path: Path, model: str) -> None:
    done = CliRunner().invoke(app, ["prompt", "tune", str(config(tmp_path, model))])
    assert done.exit_code == 0, done.output
    report = tmp_path / "work" / "report"
    found = json.loads((report / "report.json").read_text("utf-8"))
    full, none = found["baselines"]
    context = "Say.\nQ: who & <i>why</i> A: it\nQ: baked A: is\n"
    assert (full["name"], none["name"], none["tokens"]) == ("full", "none", 0)
    assert [one["search"] for one in found["prompts"]] == ["random:draws=3", "greedy:at_once=9"] * 2
    for number, one in enumerate(found["prompts"], 1):
        assert one["tokens"] <= one["max_tokens"] < full["tokens"]
        assert one["evaluations"] <= 120
        # verbatim pieces in order, and all of the prompt together
        assert "".join(piece["text"] for piece in one["pieces"]) == context
        assert "".join(piece["text"] for piece in one["pieces"] if piece["kept"]) == one["text"]
        assert all(bool(piece["reason"]) is not piece["kept"] for piece in one["pieces"])
        name = f"prompt_{number}_{one['search'].partition(':')[0]}_{one['max_tokens']}.txt"
        assert (report / name).read_bytes().decode() == one["text"]
        for kind in ("development", "held_out", "by_lot"):
            own = one[kind]["accuracy"]
            assert 0 <= own["low"] <= own["mean"] <= own["high"] <= 1
        assert one["held_out"]["likelihood"]["mean"] < 0
        own, lot, less = (one[kind]["likelihood"]["mean"] for kind in ("held_out", "by_lot", "to_random"))
        assert less == pytest.approx(own - lot)
        assert one["verdict"] in done.stdout
    shown = Text()
    shown.feed((report / "report.html").read_text("utf-8"))
    assert "i" not in shown.tags
    assert "script" not in shown.tags
    assert shown.kept == "".join(one["text"] for one in found["prompts"])
    assert len(shown.kept) + len(shown.dropped) == 4 * len(context)


def test_a_second_run_asks_nothing_and_a_torn_one_goes_on(tmp_path: Path, model: str) -> None:
    settings = read_tune_settings(config(tmp_path, model))
    first = tune(settings)
    file = tmp_path / "work" / "evaluations.jsonl"
    whole = file.read_bytes()
    # seconds are remembered with the evaluations, so that not even they change
    assert tune(settings) == first
    assert file.read_bytes() == whole
    file.write_bytes(whole[: len(whole) // 2])
    told: list[tuple[str, int, int]] = []
    again = tune(settings, lambda said, done, total: told.append((said, done, total)))
    for before, after in zip(first.prompts, again.prompts, strict=True):
        assert dataclasses.replace(after, seconds=0) == dataclasses.replace(before, seconds=0)
    assert again.baselines == first.baselines
    assert {total for *_, total in told} == {120}
    assert [json.loads(line)["rows"] for line in file.read_bytes().splitlines()] == [
        json.loads(line)["rows"] for line in whole.splitlines()
    ]


def test_free_answers_need_no_labels(tmp_path: Path, model: str) -> None:
    settings = read_tune_settings(
        config(tmp_path, model, labels=[], shots="", searches=["lead"], max_tokens=[2], protect=["S"])
    )
    result = tune(settings)
    (one,) = result.prompts
    assert one.text == "Sa"
    assert one.held_out.accuracy is None
    assert "Mean log-likelihood" in page(result)
    assert result.baselines[1].tokens == 1


def test_mistakes_are_one_line_and_nothing_is_written(tmp_path: Path, model: str) -> None:
    for more, message in (
        (
            {"held_out": written(tmp_path / "h.jsonl", [*HELD_OUT, DEVELOPMENT[0]])},
            "held_out: want rows that are",
        ),
        ({"shots": written(tmp_path / "s.jsonl", [DEVELOPMENT[1]])}, "development: want rows that are neither"),
        ({"searches": ["beam"]}, "has no 'beam'"),
        ({"searches": ["llmlingua2"]}, "wants the token classifier"),
        ({"labels": ["it", "no"]}, "row 1: want an answer among the 2 labels, got 'is'"),
        ({"keep_ratios": [0.0]}, "keep_ratio"),
        ({"budget": 3}, "unknown key 'budget'"),
        ({"development": written(tmp_path / "e.jsonl", [])}, "e.jsonl holds no rows"),
    ):
        done = CliRunner().invoke(app, ["prompt", "tune", str(config(tmp_path, model, **more))])
        assert done.exit_code == 2, more
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "work" / "report").exists()


def test_no_text_of_others_is_read_as_html() -> None:
    attack = "<script>x()</script><img src=x onerror=y>\x1b[2J"
    flat = Scores(Interval(-1, -1, -1), Interval(0.5, 0.5, 0.5))
    pieces = (Piece(attack, -1, True, ""), Piece(attack, 0, False, f'"{attack}'))
    one = TunedPrompt(attack, 2, 2, 1, 0.1, flat, flat, flat, flat, flat, {}, pieces, attack)
    bases = (Baseline("full", 4, flat, flat), Baseline("none", 0, flat, flat))
    shown = page(TuneResult(attack, "likelihood", True, 2, 2, 0, bases, (one,)))
    assert "<script" not in shown
    assert "<img" not in shown
    assert "\x1b" not in shown
    assert shown.count("&lt;script&gt;x()&lt;/script&gt;") >= 5


def test_two_runs_at_work_are_refused(tmp_path: Path) -> None:
    with (
        Evaluations.kept_in(tmp_path / "e.jsonl"),
        pytest.raises(BlockingIOError, match="another run is at work"),
        Evaluations.kept_in(tmp_path / "e.jsonl"),
    ):
        pass
    (tmp_path / "e.jsonl").write_text('{"key": "a", "rows": [0], "likelihood": [], "correct": [0], "seconds": [0]}\n')
    with pytest.raises(ValueError, match="e.jsonl:1: want as many numbers"), Evaluations.kept_in(tmp_path / "e.jsonl"):
        pass


def test_verdicts_by_hand() -> None:
    assert Interval(1, 0.5, 1.5).word == "better"
    assert Interval(-1, -1.5, -0.5).word == "worse"
    assert Interval(1, -0.5, 1.5).word == "no difference that can be told"
    task = ToyTask("a b c d", copies, 2)
    lots = by_lot(task, 2, 4, 0)
    assert all(int(one.kept.sum()) == 2 for one in lots)
    assert len({one.kept.tobytes() for one in lots}) > 1
    # the same order at every length: what is kept of less is kept of more
    for less, more in zip(by_lot(task, 1, 4, 0), lots, strict=True):
        assert (less.kept <= more.kept).all()
    own = RowScores(np.array([-1.0, -2.0]), np.array([1.0, 0.0]))
    lot = average([RowScores(np.array([-3.0, -2.0]), np.zeros(2)), RowScores(np.array([-1.0, -6.0]), np.ones(2))])
    assert lot.likelihood.tolist() == [-2, -4]
    found = difference(task, own, lot)
    assert (found.likelihood.mean, found.main.mean) == (1.5, 0)
    assert mean_of(np.ones(5)) == Interval(1, 1, 1)
    wide = mean_of(np.array([0.0, 1.0] * 50))
    # 1.96 * 0.5 / 10
    assert (wide.low, wide.high) == (pytest.approx(0.402, abs=0.03), pytest.approx(0.598, abs=0.03))
