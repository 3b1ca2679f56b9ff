"""Settings out of YAML: by type, with defaults, and each mistake named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from contextpruner.training.recipe import read_recipe

SOURCE = "{path: a.jsonl, form: offsets, language: en, family: f, licence: A"
RECIPE = """
work: w
examples:
  sources:
    - %s, limit: 5}
student: {base: b, layers: [0, 3]}
training: {tokens: 1000, learning_rate: 1.0e-4}
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return read_recipe(path)


def test_what_is_given_and_what_is_not(tmp_path: Path) -> None:
    recipe = read(tmp_path, RECIPE % SOURCE)
    assert recipe.examples.sources[0].limit == 5
    assert recipe.examples.sources[0].name == "a"
    assert recipe.student.layers == (0, 3)
    assert (recipe.training.learning_rate, recipe.training.batch_tokens) == (1e-4, 4096)
    assert recipe.folder("packed") == Path("w/packed")
    assert recipe.folder("run") == Path("w/run")
    assert read(tmp_path, "run: elsewhere\n" + RECIPE % SOURCE).folder("run") == Path("elsewhere")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("seeds: 1\n", "unknown key 'seeds'"),
        ("seed: 1.5\n", "seed: want a whole number, got 1.5"),
        ("sources: [a]\n", "sources: want text"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, wrong: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, wrong + RECIPE % SOURCE)


def test_mistakes_inside_are_named_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"r.yaml: examples: sources\[0\]: form: want 'offsets' or"):
        read(tmp_path, RECIPE % SOURCE.replace("offsets", "offset"))
    with pytest.raises(ValueError, match=r"sources\[0\]: want licence, got path, form"):
        read(tmp_path, RECIPE % SOURCE.replace(", licence: A", ""))


def test_half_a_layer_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layers: want whole numbers"):
        read(tmp_path, (RECIPE % SOURCE).replace("[0, 3]", "[0, 3.5]"))


def test_the_recipe_of_the_default_pruner_is_one() -> None:
    recipe = read_recipe(Path(__file__).resolve().parents[3] / "benchmarks" / "pruner" / "default.yaml")
    names = [source.path for source in recipe.examples.sources]
    assert len(names) == len(set(names))
    assert {source.licence for source in recipe.examples.sources} == {"A"}


def test_a_recipe_extends_another_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(RECIPE % SOURCE)
    recipe = read(tmp_path, "extends: base.yaml\nrun: other/run\ntraining: {tokens: 7}\nstudent: {layers: []}\n")
    assert (recipe.training.tokens, recipe.training.learning_rate) == (7, 1e-4)
    assert (recipe.student.base, recipe.student.layers) == ("b", ())
    assert recipe.examples.sources[0].limit == 5
    # another run has a student of its own, over the same rows
    folders = [recipe.folder(step).as_posix() for step in ("examples", "packed", "student", "run")]
    assert folders == ["w/examples", "w/packed", "other/run/student", "other/run"]
    with pytest.raises(ValueError, match=r"r\.yaml.*training.*tokns"):
        read(tmp_path, "extends: base.yaml\ntraining: {tokns: 7}\n")
    (tmp_path / "base.yaml").write_text("extends: r.yaml\n")
    with pytest.raises(ValueError, match="extends: want the name of another recipe, got 'r.yaml'"):
        read(tmp_path, "extends: base.yaml\n")
    with pytest.raises(ValueError, match="extends: want the name of another recipe, got 7"):
        read(tmp_path, "extends: 7\n")
