"""A `fit` that is cut off goes on where it was; what is finished is finished while another column is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch, Scorer, ScoreTable, Source, State, score
from datapruner.scoring.scorer import COSMETIC, NOTHING
from datapruner.scoring.workspace import Workspace
from tests.datapruner.folders import folder_bytes

WORKED: list[int] = []
# the row before whose batch the power goes, 1000: at the end
FAILS_AT: dict[str, int] = {"row": -1}


@dataclass(frozen=True)
class Mean(Scorer):
    """How much longer a text is than the mean."""

    def fit(self, corpus: Iterable[Batch], workspace: Workspace | None = None) -> State:
        workspace = workspace or Workspace()
        lengths = [part["lengths"] for part in workspace.each("lengths", corpus, self._lengths)]
        mean = workspace.saved("mean")
        if mean is None:
            WORKED.append(-1)
            mean = {"mean": np.concatenate(lengths).mean(keepdims=True)}
            workspace.save("mean", mean)
            if FAILS_AT["row"] == 1000:
                raise RuntimeError("the power is gone")
        return mean

    def _lengths(self, batch: Batch) -> dict[str, np.ndarray]:
        if batch.rows[0] == FAILS_AT["row"]:
            raise RuntimeError("the power is gone")
        WORKED.extend(batch.rows.tolist())
        return {"lengths": np.array([len(text) for text in batch.texts])}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return np.array([len(text) for text in batch.texts] - state["mean"], dtype=np.float32)


def test_a_fit_that_is_cut_off_four_times_does_nothing_twice(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, chunk_rows=20)
    score(source, ["length", Mean()], tmp_path / "whole")
    WORKED.clear()
    for fails_at in (0, 40, 60, 1000):
        FAILS_AT["row"] = fails_at
        with pytest.raises(RuntimeError):
            score(source, ["length", Mean()], tmp_path / "t")
        assert ScoreTable(tmp_path / "t").columns == ["length"]
    FAILS_AT["row"] = -1
    score(source, ["length", Mean()], tmp_path / "t")
    assert [*range(103), -1] == WORKED
    # nor is anything of it left
    assert folder_bytes(tmp_path / "t") == folder_bytes(tmp_path / "whole")
    assert not [path for path in (tmp_path / "t").rglob("*") if path.name == "workspace"]


def test_the_batches_that_are_done_are_not_read(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(corpus, chunk_rows=10)
    monkeypatch.setitem(FAILS_AT, "row", 70)
    with pytest.raises(RuntimeError):
        score(source, Mean(), tmp_path / "t")
    read: list[int] = []
    plain = Source.parsed
    monkeypatch.setattr(Source, "parsed", lambda self, chunk: read.append(chunk.start) or plain(self, chunk))
    FAILS_AT["row"] = 90
    with pytest.raises(RuntimeError):
        score(source, Mean(), tmp_path / "t")
    assert read == [70, 80, 90]


def test_without_a_table_a_fit_works_as_well() -> None:
    texts = ["a", "bbb"]
    batches = [Batch(np.array([i]), [f"u{i}"], [text]) for i, text in enumerate(texts)]
    state = Mean().fit(batches)
    assert state["mean"].tolist() == [2]
    space = Workspace()
    assert Mean().fit(iter(batches), space)["mean"].tolist() == [2]
    # an iterator that can only be gone through is gone through, and what is done is not done again
    WORKED.clear()
    assert [part["lengths"].tolist() for part in space.each("lengths", iter(batches), Mean()._lengths)] == [[1], [3]]
    assert WORKED == []


@dataclass(frozen=True)
class Watching(Scorer):
    """Looks at its table while it is made."""

    table: str = field(default="", metadata=COSMETIC)

    def fit(self, corpus: Iterable[Batch]) -> State:
        SEEN.append(ScoreTable(self.table).columns)
        return NOTHING

    def score(self, batch: Batch) -> np.ndarray:
        SEEN.append(ScoreTable(self.table).columns)
        return np.zeros(len(batch), dtype=np.float32)


SEEN: list[list[str]] = []


def test_a_finished_column_is_finished_while_another_is_made(corpus: Path, tmp_path: Path) -> None:
    SEEN.clear()
    score(Source(corpus, chunk_rows=60), ["length", Watching(str(tmp_path / "t"))], tmp_path / "t")
    assert SEEN == [["length"]] * 3


def test_a_workspace_removes_nothing_but_its_own(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "workspace")
    space.save("a", {"x": np.arange(3)})
    (space.folder / "letter.txt").write_text("mine")
    space.remove()
    assert [path.name for path in space.folder.iterdir()] == ["letter.txt"]
    for name in ("../a", "a/b", "", "a.b"):
        with pytest.raises(ValueError, match="want a name of letters"):
            space.save(name, {})
    elsewhere = Workspace(tmp_path / "elsewhere")
    elsewhere.save("a", {"x": np.arange(3)})
    (tmp_path / "link").symlink_to(elsewhere.folder)
    Workspace(tmp_path / "link").remove()
    assert elsewhere.saved("a") is not None
