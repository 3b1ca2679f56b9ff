"""A run learns, goes on after a kill as if nothing had been, and leaves a pruner that is loaded like any other."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from contextpruner import ContextPruner
from contextpruner.cli import app
from contextpruner.training.examples.build import build_examples
from contextpruner.training.packed.shards import pack_examples
from contextpruner.training.recipe import Recipe, read_recipe
from contextpruner.training.student.encoder import make_student
from contextpruner.training.trainer import loop
from contextpruner.training.trainer.loop import train
from tests.contextpruner.training.question_sets import write_recipe


def prepared(folder: Path, **training: object) -> Recipe:
    # what is asked for is one word: so little is learnt at once
    recipe = read_recipe(write_recipe(folder, 40, ["dome"], **training))
    build_examples(recipe)
    make_student(recipe)
    pack_examples(recipe)
    return recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    recipe = prepared(tmp_path_factory.mktemp("run"))
    return recipe, train(recipe, device="cpu", listener=lambda line: None)


def log_of(recipe: Recipe) -> list[dict[str, float]]:
    return [json.loads(line) for line in (recipe.folder("run") / "log.jsonl").read_text().splitlines()]


def test_losses_fall_and_the_area_grows(trained: tuple[Recipe, Path]) -> None:
    lines = log_of(trained[0])
    areas = [line["area"] for line in lines if "area" in line]
    told = [line for line in lines if "token" in line]
    assert max(areas) > areas[0]
    assert told[-1]["token"] < told[0]["token"]
    assert all(line["tokens_a_second"] > 0 and line["of_floor"] > 0 for line in told)
    # it ends where the recipe says
    assert 20000 <= lines[-1]["tokens"] < 21500


def test_the_best_is_a_pruner_with_a_threshold(trained: tuple[Recipe, Path]) -> None:
    pruner = ContextPruner.from_pretrained(str(trained[1]))
    lines = [line for line in log_of(trained[0]) if "area" in line]
    best = max(lines, key=lambda line: line["area"])
    assert pruner.labeler.default_threshold == pytest.approx(best["threshold"], abs=1e-5)
    assert pruner.labeler.loaded.model.temperature == best["temperature"] != 1
    result = pruner.prune("Who made the dome?", ["It was ana who made the dome. It was bob who made the boat."])
    assert result.documents[0].text


def weights(recipe: Recipe) -> dict[str, np.ndarray]:
    state = recipe.folder("run") / "state"
    return {**load_file(state / "model.safetensors"), **load_file(state / "optimizer.safetensors")}


@pytest.mark.parametrize("stop_at", [3, 8])
def test_a_killed_run_goes_on_to_the_same_bits(
    stop_at: int, trained: tuple[Recipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained[0]
    again = read_recipe(write_recipe(tmp_path))
    shutil.copytree(whole.folder("packed"), again.folder("packed"))
    shutil.copytree(whole.folder("student"), again.folder("student"))
    step = loop._step

    def killed(run: loop.Run, batches: list) -> dict[str, float]:
        if run.progress.step == stop_at:
            raise KeyboardInterrupt
        return step(run, batches)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(again, device="cpu", listener=lambda line: None)
    train(again, device="cpu", listener=lambda line: None)
    one, two = weights(whole), weights(again)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    areas = [[(line["step"], line["area"]) for line in log_of(recipe) if "area" in line] for recipe in (whole, again)]
    assert areas[0] == areas[1]


def test_another_recipe_does_not_go_on_there(trained: tuple[Recipe, Path], tmp_path: Path) -> None:
    other = read_recipe(write_recipe(tmp_path, learning_rate=1e-3))
    for step in ("packed", "student", "run"):
        shutil.copytree(trained[0].folder(step), other.folder(step))
    with pytest.raises(ValueError, match="want the state of this recipe and data, got another's"):
        train(other, device="cpu", listener=lambda line: None)
    # how often it tells and saves makes it no other one: there is nothing left to do
    same = read_recipe(write_recipe(tmp_path, tell_every=7, save_every=9, validate_every=1000))
    assert train(same, device="cpu", listener=lambda line: None) == same.folder("run") / "best"


def test_a_second_run_learns_on_from_the_first_over_its_rows(trained: tuple[Recipe, Path], tmp_path: Path) -> None:
    first, best = trained
    (tmp_path / "base.yaml").write_text((Path(first.work).parent / "recipe.yaml").read_text())
    student = {"base": str(best), "layers": [], "vocabulary": 0, "matched_token_types": True}
    said = {"extends": "base.yaml", "run": str(tmp_path / "second"), "student": student, "training": {"tokens": 3000}}
    (tmp_path / "second.yaml").write_text(json.dumps(said))
    second = read_recipe(tmp_path / "second.yaml")
    make_student(second)
    assert second.folder("packed") == first.folder("packed")
    pruner = ContextPruner.from_pretrained(str(train(second, device="cpu", listener=lambda line: None)))
    assert pruner.labeler.loaded.model.marks_matches
    # it begins where the first one had come to at its best
    assert log_of(second)[0]["token"] < 0.8 * log_of(first)[0]["token"]
    other = dataclasses.replace(second, student=dataclasses.replace(first.student, vocabulary=50))
    make_student(other, overwrite=True)
    with pytest.raises(ValueError, match="want rows of the tokenizer in .*student, got another one's"):
        train(other, device="cpu", listener=lambda line: None)


def test_it_ends_where_nothing_gets_better(trained: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe = read_recipe(
        write_recipe(tmp_path, learning_rate=0.0, patience=2, accumulate=2, tokens=10**6, validate_every=2)
    )
    for step in ("packed", "student"):
        shutil.copytree(trained[0].folder(step), recipe.folder(step))
    train(recipe, device="cpu", listener=lambda line: None)
    # the first validation is the best one, and two more are none
    assert log_of(recipe)[-1]["step"] == 6


def test_one_command_each_prepares_trains_and_evaluates(tmp_path: Path) -> None:
    runner, recipe = CliRunner(), str(write_recipe(tmp_path, tokens=4000))
    ran = runner.invoke(app, ["train", recipe, "--minutes", "0"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    ran = runner.invoke(app, ["train", recipe], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert "the best pruner so far" in ran.output
    held, best = (str(tmp_path / "work" / name) for name in ("examples/validation.jsonl", "run/best"))
    labelers = ["-l", f"provence:model={best}", "-l", "bm25"]
    ran = runner.invoke(app, ["evaluate", held, *labelers, "-o", str(tmp_path / "report.json")], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    rows = json.loads((tmp_path / "report.json").read_text())["sets"]
    assert [row["labeler"] for row in rows] == [f"provence:model={best}", "bm25"]
    # a fact is one sentence that has the word asked for
    assert rows[1]["at_own"]["kept"]["recall"] > 0.9
    assert rows[1]["n_without_gold"] > 0
    assert 0 <= rows[1]["empty"] <= 1
