"""Scorers of somebody's own: known by class and module or by entry point, and handed what they take."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch, Embedder, Output, Recipe, Scorer, ScoreTable, Source, State, prune, run, score
from datapruner.recipe import recipe_yaml
from datapruner.scoring.scorer import NOTHING

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Ones(Scorer):
    """As the guide says: a batch, and no more."""

    def score(self, batch: Batch) -> np.ndarray:
        return np.ones(len(batch), dtype=np.float32)


@dataclass(frozen=True)
class Twos(Scorer):
    """Another one of this module."""

    def score(self, batch: Batch) -> np.ndarray:
        return np.full(len(batch), 2, dtype=np.float32)

    def details(self, batch: Batch) -> dict[str, np.ndarray]:
        return {"twice": np.full(len(batch), 4)}


@dataclass(frozen=True)
class OverMean(Scorer):
    """With a `fit`."""

    def fit(self, corpus: Iterable[Batch]) -> State:
        return {"mean": np.array([np.mean([len(text) for batch in corpus for text in batch.texts])])}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return np.array([len(text) for text in batch.texts] - state["mean"], dtype=np.float32)

    def details(self, batch: Batch) -> dict[str, np.ndarray]:
        return {"characters": np.array([len(text) for text in batch.texts])}


@dataclass(frozen=True)
class Flags(Embedder):
    """An embedder."""

    def score(self, batch: Batch) -> np.ndarray:
        return np.ones((len(batch), 3), dtype=np.float32)


def test_two_classes_of_one_module_are_two_columns(corpus: Path, tmp_path: Path) -> None:
    score(corpus, [Ones()], tmp_path / "t")
    table = score(corpus, [Twos()], tmp_path / "t")
    assert table.columns == ["ones", "twos"]
    assert set(table.scores("ones")) == {1}
    assert set(table.scores("twos")) == {2}
    assert table.manifest["columns"]["twos"]["method"] == f"{__name__}.Twos"
    # nor does one go by the other's name
    with pytest.raises(ValueError, match=r"column 'ones' with method test.*\.Ones, wanted is test.*\.Twos"):
        score(corpus, [type("Ones", (Twos,), {"__module__": __name__, "__qualname__": "Twos"})()], tmp_path / "t")


SCRIPT = """
import sys
from dataclasses import dataclass
import numpy as np
from datapruner import Scorer, score
@dataclass(frozen=True)
class Mine(Scorer):
    def score(self, batch):
        return np.full(len(batch), {value}, dtype=np.float32)
score(sys.argv[1], [Mine()], sys.argv[2])
"""


def test_two_scripts_are_two(corpus: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
    done = []
    for name, value in (("first", 1), ("second", 2)):
        script = tmp_path / f"{name}.py"
        script.write_text(SCRIPT.format(value=value))
        command = [sys.executable, str(script), str(corpus), str(tmp_path / "t")]
        done.append(subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120))
    assert done[0].returncode == 0, done[0].stderr
    assert "column 'mine' with method first.Mine, wanted is second.Mine" in done[1].stderr
    assert set(ScoreTable(tmp_path / "t").scores("mine")) == {1}


def test_an_entry_point_is_known_by_its_name_and_runs_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint(name, f"{__name__}:{cls}", "datapruner.scorers") for name, cls in
              (("one", "Ones"), ("two", "Twos"))]  # fmt: skip
    monkeypatch.setattr(
        "prunekernels.registry.entry_points", lambda group: [point for point in points if point.group == group]
    )
    table = score(corpus, [Ones(), "two"], tmp_path / "t")
    assert {name: set(table.scores(name)) for name in table.columns} == {"one": {1}, "two": {2}}
    kept = prune(corpus, Twos(), "top", 0.5, tmp_path / "out")
    recipe = recipe_yaml.load(tmp_path / "out" / "recipe.yaml")
    assert recipe.scorers == ("two",)
    again = run(dataclasses.replace(recipe, out=Output(tmp_path / "again")))
    assert again.kept_uids == kept.kept_uids


def test_a_recipe_never_names_what_it_cannot_make(corpus: Path, tmp_path: Path) -> None:
    prune(corpus, Twos(), "top", 0.5, tmp_path / "out")
    assert not (tmp_path / "out" / "recipe.yaml").exists()
    with pytest.raises(ValueError, match=r"datapruner.scorers has no 'test.*\.Twos'; it has"):
        recipe_yaml.dump(Recipe(Source(str(corpus)), (Twos(),), ()))


def test_methods_are_handed_what_they_take(corpus: Path, tmp_path: Path) -> None:
    table = score(corpus, [Twos(), OverMean(), Flags()], tmp_path / "t")
    assert set(table.read("twos", "twice").to_pylist()) == {4}
    lengths = table.read("over_mean", "characters").to_numpy()
    np.testing.assert_allclose(table.scores("over_mean"), lengths - lengths.mean(), rtol=1e-6)
    assert table.vectors("flags", 0).shape == (103, 3)
