"""Without a selector it is the one that the score is for; and what scorers say beside their scores goes along."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from datapruner import Batch, Budget, Scorer, Selection, Source, prune, score, select, write
from datapruner.cli import app
from datapruner.scoring.scorer_columns import EMBEDDERS, SCORERS
from datapruner.selection.select import SELECTORS, as_selector
from prunekernels import registry
from tests.datapruner.conftest import make_rows, write_jsonl


@dataclass(frozen=True)
class Alike(Scorer):
    """How much a text resembles the row before it, which is 0.01 a row; a partner and a cluster beside it."""

    default_selector: ClassVar[str] = "threshold:maximum=0.8"

    def score(self, batch: Batch) -> np.ndarray:
        return (batch.rows / 100).astype(np.float32)

    def details(self, batch: Batch) -> dict[str, np.ndarray]:
        partners = np.array([f"doc-{row - 1}" if row else "" for row in batch.rows.tolist()], dtype=object)
        return {"nearest_uid": partners, "cluster": batch.rows // 2, "parts": [[1, 2]] * len(batch)}  # type: ignore[dict-item]


@pytest.fixture
def corpus_of_100(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "c.jsonl", make_rows(100))


def test_a_score_of_copies_is_cut_and_a_number_of_rows_is_ranked(corpus_of_100: Path, tmp_path: Path) -> None:
    table = score(corpus_of_100, [Alike(), "length"], tmp_path / "t")
    cut = select(table, by="alike")
    assert (cut.kept == np.arange(81)).all()
    assert cut.steps[0]["selector"] == "threshold:seed=0,minimum=None,maximum=0.8"
    # exactly so many by similarity: the least alike
    assert (select(table, by="alike", keep_ratio=Budget(rows=33)).kept == np.arange(33)).all()
    # what lies in the middle of lengths
    assert select(table, by="length", keep_ratio=0.5).steps[0]["selector"] == "middle:seed=0"
    assert select(table, by={"length": 1.0, "alike": -1.0}, keep_ratio=0.5).steps[0]["selector"] == "top:seed=0"
    with pytest.raises(ValueError, match="middle wants a keep_ratio"):
        select(table, by="length")
    with pytest.raises(ValueError, match="want by=<column>, one of alike, length"):
        select(table, keep_ratio=0.5)
    with pytest.raises(ValueError, match="has no finished column 'longth'"):
        select(table, by="longth", keep_ratio=0.5)


def test_a_run_takes_the_default_and_records_it(corpus_of_100: Path, tmp_path: Path) -> None:
    kept = prune(corpus_of_100, Alike(), None, None, tmp_path / "out")
    assert kept.n_kept == 81
    found = CliRunner().invoke(
        app, ["prune", str(corpus_of_100), "--scorer", "near_duplicate", "--out", str(tmp_path / "cli")]
    )
    assert found.exit_code == 0, found.output
    assert "threshold:" in (tmp_path / "cli" / "recipe.yaml").read_text()


@pytest.mark.parametrize("folder", [SCORERS, EMBEDDERS])
def test_every_scorer_names_a_selector_that_there_is(folder: str) -> None:
    for name in registry.names(folder):
        method = registry.load(folder, name, Scorer)
        rule = as_selector(method.default_selector)
        rule.check()
        # one that has no count can be asked for one
        assert rule.counts or rule.ranked() in registry.names(SELECTORS), name


def test_partner_and_cluster_stand_beside_every_dropped_row(corpus_of_100: Path, tmp_path: Path) -> None:
    source = Source(corpus_of_100, uid="id", chunk_rows=30)
    cut = select(score(source, Alike(), tmp_path / "t"))
    cut.save(tmp_path / "s.parquet")
    stored = pq.read_table(tmp_path / "s.parquet")
    assert stored["detail_alike.nearest_uid"].to_pylist() == ["", *(f"doc-{n}" for n in range(99))]
    assert stored["detail_alike.cluster"].to_pylist() == [n // 2 for n in range(100)]
    # lists are no plain values
    assert "detail_alike.parts" not in stored.column_names
    for selection, name in ((cut, "one"), (Selection.load(tmp_path / "s.parquet"), "two")):
        write(source, selection, tmp_path / name)
        lines = [json.loads(line)["prunekit"] for line in (tmp_path / name / "dropped.jsonl").read_text().splitlines()]
        assert [line["scores"]["alike.nearest_uid"] for line in lines] == [f"doc-{n}" for n in range(80, 99)]
        assert [line["scores"]["alike.cluster"] for line in lines] == [n // 2 for n in range(81, 100)]
    # a later step keeps them
    later = select(score(source, [Alike(), "length"], tmp_path / "t"), "top", "length", 0.5, within=cut)
    assert later.said(99, 100)["alike.cluster"] == [49]


def test_they_stand_beside_rows_of_parquet_as_well(tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"text": [f"text {n}" for n in range(100)]}), tmp_path / "c.parquet")
    cut = select(score(tmp_path / "c.parquet", Alike(), tmp_path / "t"))
    write(tmp_path / "c.parquet", cut, tmp_path / "out")
    dropped = pq.read_table(tmp_path / "out" / "dropped.parquet")["prunekit"].to_pylist()
    assert dropped[0]["scores"] == {"alike": pytest.approx(0.81), "alike.nearest_uid": "doc-80", "alike.cluster": 40}
