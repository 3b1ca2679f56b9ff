"""A corpus that grows: what was scored is not scored again."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapruner import ScoreTable, Source, score, select
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import SEEN, Counting, folder_bytes


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    rows = make_rows(60, seed=2)
    # a row of the first file stands in the last one again
    parts = (rows[:25], rows[25:37], [*rows[37:], {**rows[3], "id": "again"}])
    return [write_jsonl(tmp_path / f"shard-{n}.jsonl", part) for n, part in enumerate(parts)]


@pytest.mark.parametrize("uid", [None, "id"])
def test_more_files_are_scored_and_the_others_are_not(shards: list[Path], tmp_path: Path, uid: str | None) -> None:
    scorers = [Counting(), "length", "near_duplicate"]
    score(Source([*shards[:1]], uid=uid, chunk_rows=10), [*scorers, "random"], tmp_path / "t")
    SEEN.clear()
    # from two to three files at once, with another wish for chunks
    table = score(Source([*shards], uid=uid, chunk_rows=99), scorers, tmp_path / "t")
    # the chunk in which the first file ended is the only one that is done again
    assert len(SEEN) <= 61 - 20
    assert set(range(25, 61)) <= set(SEEN)
    # a column that nobody asked for is not finished, and what it has is kept
    assert table.columns == ["counting", "length", "near_duplicate"]
    assert len([*(tmp_path / "t" / "random").iterdir()]) == 2
    table = score(Source([*shards], uid=uid), "random", tmp_path / "t")
    assert table.columns == ["counting", "length", "near_duplicate", "random"]
    whole = score(Source([*shards], uid=uid, chunk_rows=10), [*scorers, "random"], tmp_path / "whole")
    assert folder_bytes(table.path) == folder_bytes(whole.path)
    assert select(table, "top", "length", 0.5).kept_uids == select(whole, "top", "length", 0.5).kept_uids


def test_a_run_that_is_cut_off_while_the_table_grows_goes_on(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(Source([*shards[:2]], chunk_rows=10), [Counting(), "length"], tmp_path / "t")
    real = ScoreTable.write_part
    for fails_in in ("length", "rows"):

        def fails(self: ScoreTable, column: str, chunk: int, table: object, at: str = fails_in) -> None:
            if column == at and chunk > 3:
                raise OSError(28, "the disk is full")
            real(self, column, chunk, table)

        with monkeypatch.context() as patched:
            patched.setattr(ScoreTable, "write_part", fails)
            with pytest.raises(OSError, match="full"):
                score(Source([*shards]), ["length"], tmp_path / "t")
    SEEN.clear()
    table = score(Source([*shards]), [Counting(), "length"], tmp_path / "t")
    whole = score(Source([*shards], chunk_rows=10), ["length", Counting()], tmp_path / "whole")
    assert folder_bytes(table.path) == folder_bytes(whole.path)
    assert set(range(30)).isdisjoint(SEEN[: len(SEEN) - 61])


def test_other_files_before_or_between_are_refused(shards: list[Path], tmp_path: Path) -> None:
    score(Source([shards[0], shards[2]]), "length", tmp_path / "t")
    before = folder_bytes(tmp_path / "t")
    for files in ([shards[0], shards[1], shards[2]], [shards[2], shards[0]], [shards[0]]):
        with pytest.raises(ValueError, match="score table of another input"):
            score(Source(files), "length", tmp_path / "t")
    assert folder_bytes(tmp_path / "t") == before
