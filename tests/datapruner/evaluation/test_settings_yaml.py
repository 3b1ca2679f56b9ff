"""Evaluations from YAML, and the command line that runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from datapruner import Rule
from datapruner.cli import app
from datapruner.evaluation.settings import Observe, Seeds
from datapruner.evaluation.settings_yaml import load
from datapruner.selection.budgets import Per
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.evaluation.conftest import blobs
from tests.datapruner.output.pages import check_page

WHOLE = """
source: {path: train.jsonl, uid: id, label: label, group: site, text: null}
test: test.jsonl
proxy: "linear_probe:vectors=features,batch_size=16,device=cpu"
scorers: ["r=random:seed=2"]
candidates:
- {selector: top, by: r, per: label, quota: equal}
- {name: "two <steps>", select: [{where: "r >= 0.2"}, {selector: "middle", by: r}], weighted: false}
keep_ratios: [0.5]
baselines: [rs2]
steps: 6
checks: 2
seeds: {training: 2, selection: 1}
observe: {epochs: 2}
margin: 0.02
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, n, seed in (("train", 60, 1), ("test", 30, 2)):
        rows = blobs(n, seed)
        plain = {key: values.tolist() if key == "features" else values for key, values in rows.items()}  # type: ignore[attr-defined]
        write_jsonl(
            tmp_path / f"{name}.jsonl",
            [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)],
        )
    (tmp_path / "evaluate.yaml").write_text(WHOLE, "utf-8")
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_every_word_is_read(folder: Path) -> None:
    read = load(folder / "evaluate.yaml")
    assert read.source.path == str(folder / "train.jsonl")
    assert (read.source.uid, read.source.label, read.source.group, read.source.text) == ("id", "label", "site", None)
    # the held-out corpus has the same fields
    assert (read.test.path, read.test.label) == (str(folder / "test.jsonl"), "label")
    one, two = read.candidates
    assert (one.name, one.weighted) == ("top by r per label", True)
    assert one.steps == (Rule("top", "r", None, Per("label", "equal")),)
    assert (two.name, two.weighted) == ("two <steps>", False)
    assert two.steps == (Rule("threshold:minimum=0.2", "r"), Rule("middle", "r"))
    assert (read.keep_ratios, read.baselines, read.steps, read.checks, read.margin) == ((0.5,), ("rs2",), 6, 2, 0.02)
    assert read.seeds == Seeds(2, selection=1)
    assert read.observe == Observe(epochs=2)


def test_the_command_shows_table_verdict_and_page(folder: Path) -> None:
    planned = run("evaluate", folder / "evaluate.yaml", "--out", folder / "out", "--dry-run")
    assert "would train at most 10 times 6 steps" in planned.output, planned.output
    assert not (folder / "out").exists()
    done = run("evaluate", folder / "evaluate.yaml", "--out", folder / "out")
    assert done.exit_code == 0, done.output
    assert "60 rows, judged on 30" in done.output
    assert "two <steps>" in done.output
    found = json.loads((folder / "out" / "result.json").read_text("utf-8"))
    assert found["verdict"].startswith(("Apply ", "Keep everything: "))
    assert found["verdict"] in " ".join(done.output.split())
    words = {item["word"] for row in found["rows"] for item in row["against"]}
    assert words <= {"better", "not worse", "worse", "open"}
    page = check_page((folder / "out" / "report.html").read_text("utf-8"))
    for said in ("two <steps>", "random draw", "rs2", "Drawn once", found["verdict"]):
        assert said in page.text
    # three seeds: what is there stays, and the numbers of the command line win
    more = run("evaluate", folder / "evaluate.yaml", "--out", folder / "out", "--seeds", "3")
    assert more.exit_code == 0, more.output
    assert len(json.loads((folder / "out" / "result.json").read_text("utf-8"))["rows"][0]["qualities"]) == 3


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("steps: 6", "stepps: 6", "unknown key 'stepps'"),
        ("steps: 6", "steps: 6.5", "steps: want a whole number"),
        ("test: test.jsonl", "", "want a key 'test'"),
        ("proxy: ", "proxy: 3 # ", "proxy: want text"),
        ("selection: 1", "selection: 7", "want selection seeds of 1 or 2"),
        ("training: 2", "trainings: 2", "unknown key 'trainings'"),
        ("quota: equal", "keep_ratio: 0.5", "keep_ratio"),
        ('{where: "r >= 0.2"}', '{where: "r = 0.2"}', "want a condition"),
        ("[rs2]", "[rs3]", "want baselines among"),
        ("[0.5]", "[1.5]", "keep_ratio"),
        ("label: label,", "label: [label],", "label"),
        ("- {selector: top, by: r, per: label, quota: equal}", "- 3", "candidates"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(folder: Path, old: str, new: str, wanted: str) -> None:
    assert old in WHOLE
    (folder / "evaluate.yaml").write_text(WHOLE.replace(old, new), "utf-8")
    with pytest.raises(ValueError, match="evaluate.yaml") as refused:
        load(folder / "evaluate.yaml")
    assert wanted in str(refused.value)
    assert "\n" not in str(refused.value)


def test_errors_of_the_command_are_one_line(folder: Path) -> None:
    (folder / "evaluate.yaml").write_text(WHOLE.replace("vectors=features", "vectors=nothing"), "utf-8")
    failed = run("evaluate", folder / "evaluate.yaml", "--out", folder / "out")
    assert failed.exit_code == 2
    assert "nothing" in failed.output
    assert failed.output.startswith("error:")
