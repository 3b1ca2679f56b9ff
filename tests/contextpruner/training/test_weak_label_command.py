"""`contextpruner label --by`: gold out of answers that are known, as characters of the units that are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contextpruner.cli import app
from contextpruner.models.causal_lm import load_causal_lm
from contextpruner.training.examples.weak_labels import leave_one_out
from tests.contextpruner import tiny_checkpoints as tiny

TEXT = "Ana made the lamp. Bob made the dome. The dome was made by Bob. "
QUESTION = {"question": "Who made the dome?", "documents": [TEXT, "Bread is baked."], "gold": [[], []], "answer": "Bob"}


def labelled(tmp_path: Path, *options: str, row: dict = QUESTION) -> tuple[int, list, str]:
    path, out = tmp_path / "q.jsonl", tmp_path / "gold.jsonl"
    path.write_text(json.dumps(row) + "\n")
    done = CliRunner().invoke(app, ["label", str(path), "-o", str(out), "--overwrite", *options])
    gold = json.loads(out.read_text())["gold"] if done.exit_code == 0 else []
    return done.exit_code, gold, " ".join(done.output.split())


def texts(gold: list) -> list[str]:
    return [TEXT[start:end].strip() for start, end in gold[0]]


def test_units_with_the_answer_and_units_that_overlap(tmp_path: Path) -> None:
    _, gold, _ = labelled(tmp_path, "--by", "inclusion")
    # two units that touch are one stretch of gold
    assert texts(gold) == ["Bob made the dome. The dome was made by Bob."]
    assert gold[1] == []
    _, gold, _ = labelled(tmp_path, "--by", "overlap")
    assert "Bob made the dome." in texts(gold)[-1]


def test_units_that_an_answer_hangs_on(tmp_path: Path) -> None:
    folder = str(tiny.causal_lm(tmp_path / "model"))
    code, gold, said = labelled(tmp_path, "--by", "leave_one_out", "--model", folder)
    assert code == 0, said
    model = load_causal_lm(folder, "float32", None, 2048)
    units = ["Ana made the lamp. ", "Bob made the dome. ", "The dome was made by Bob. "]
    wanted, _ = leave_one_out(model, QUESTION["question"], "Bob", units)
    for unit, is_gold in zip(units, wanted, strict=True):
        start = TEXT.index(unit)
        assert any(a <= start < b for a, b in gold[0]) == is_gold


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--by", "leave_one_out"], "wants --model"),
        (["--by", "inclusion", "--model", "x"], "wants --model, and no other but citing does"),
        (["--by", "inclusion", "--replies", "x"], "--replies and --endpoint are for --by citing"),
        ([], "--by citing wants --model and --replies"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], reason: str, tmp_path: Path) -> None:
    code, _, said = labelled(tmp_path, *options)
    assert code == 2
    assert reason in said


def test_a_question_without_an_answer_is_named(tmp_path: Path) -> None:
    code, _, said = labelled(tmp_path, "--by", "inclusion", row={**QUESTION, "id": "q7", "answer": " "})
    assert code == 2
    assert "q7: want a question with its answer, got none" in said
    assert not (tmp_path / "gold.jsonl").exists()
