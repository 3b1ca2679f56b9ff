"""NeMo Curator's own batches through our stages: rows keep ids, order and columns."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("nemo_curator")
import cloudpickle
import pandas as pd
import pyarrow as pa
from nemo_curator.backends.base import BaseStageAdapter
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.text.io.reader import JsonlReader
from nemo_curator.stages.text.io.writer import JsonlWriter
from nemo_curator.tasks import DocumentBatch, EmptyTask, Task

import datapruner
from datapruner.integrations.nemo_curator import ScoreStage, SelectionStage, ThresholdStage
from tests.datapruner.integrations.documents import ROWS, read_rows, write_corpus

TABLE = pa.Table.from_pylist([{**row, "few": number if number % 2 else None} for number, row in enumerate(ROWS)])
LENGTHS = [len(row["text"]) for row in ROWS]


def batch(kind: str, table: pa.Table = TABLE) -> DocumentBatch:
    # an index of its own, as after a filter before ours
    data = table if kind == "arrow" else table.to_pandas().set_index(pd.Index(range(7, 7 + len(table))))
    return DocumentBatch(dataset_name="corpus", data=data, _metadata={"source_files": ["0.jsonl"]})


def rows_of(task: DocumentBatch) -> list[dict[str, object]]:
    return task.to_pyarrow().drop_columns([n for n in task.to_pyarrow().column_names if n.startswith("__")]).to_pylist()


@pytest.mark.parametrize("kind", ["arrow", "pandas"])
def test_scores_are_columns_behind_the_others(kind: str) -> None:
    given = batch(kind)
    stage = ScoreStage(scorers=["length", "rules:sets=gopher", "year=field:name=metadata.nested.year"])
    assert stage.validate_input(given)
    made = stage.process(given)
    assert type(made.data) is type(given.data)
    assert made._metadata == given._metadata
    assert given.get_columns() == TABLE.column_names
    # in the order of the scorers, each before its details
    assert made.get_columns() == [*TABLE.column_names, "length", "rules", "year", "rules.failed"]
    found = made.to_pyarrow()
    assert found.column("length").to_pylist() == LENGTHS
    assert found.column("length").type == pa.float32()
    assert found.column("year").to_pylist() == [1990 + number for number in range(len(ROWS))]
    assert [row["id"] for row in rows_of(made)] == [row["id"] for row in ROWS]
    with pytest.raises(ValueError, match="has a column 'length'"):
        stage.process(made)


@pytest.mark.parametrize("kind", ["arrow", "pandas"])
def test_a_threshold_drops_rows_or_says_why(kind: str) -> None:
    scored = ScoreStage(scorers="length").process(batch(kind))
    kept = ThresholdStage(by="length", minimum=10, maximum=50).process(scored)
    wanted = [row["id"] for row, length in zip(ROWS, LENGTHS, strict=True) if 10 <= length <= 50]
    assert 0 < len(wanted) < len(ROWS)
    assert [row["id"] for row in rows_of(kept)] == wanted
    assert rows_of(kept) == [row for row in rows_of(scored) if row["id"] in wanted]
    told = ThresholdStage(by="length", maximum=50, reason_column="reason").process(scored)
    reasons = told.to_pyarrow().column("reason")
    assert reasons.to_pylist() == [None if length <= 50 else "length above the maximum 50" for length in LENGTHS]
    for stage in (ThresholdStage(by="length", maximum=limit, reason_column="reason") for limit in (50, 500)):
        # batches of one pipeline have one schema, whether all of a batch is kept or not
        assert stage.process(scored).to_pyarrow().schema.field("reason").type in (pa.string(), pa.large_string())
    nothing = ThresholdStage(by="length", maximum=0).process(scored)
    assert nothing.num_items == 0
    assert nothing.get_columns() == scored.get_columns()


@pytest.mark.parametrize("kind", ["arrow", "pandas"])
def test_a_saved_selection_drops_what_it_drops(kind: str, tmp_path: Path) -> None:
    table = datapruner.score(datapruner.Source(TABLE, uid="id"), "length", out=tmp_path / "table")
    selection = datapruner.select(table, "bottom", by="length", keep_ratio=0.4)
    selection.save(tmp_path / "selection.parquet")
    stage = SelectionStage(selection=tmp_path / "selection.parquet")
    made = stage.process(batch(kind))
    assert [row["id"] for row in rows_of(made)] == selection.kept_uids
    assert made.to_pyarrow().column("length").to_pylist() == [len(row["text"]) for row in rows_of(made)]
    told = SelectionStage(selection=tmp_path / "selection.parquet", reason_column="reason").process(batch(kind))
    assert told.to_pyarrow().column("reason").to_pylist() == [selection.reason(row) for row in range(len(ROWS))]
    empty = batch(kind, TABLE.slice(0, 0))
    assert stage.process(empty).num_items == 0
    other = batch(kind, pa.table({"id": ["another"], "text": ["text"]}))
    with pytest.raises(ValueError, match="want a decision for document 'another'"):
        stage.process(other)


def test_what_a_stream_cannot_score_is_refused_before_it_reads() -> None:
    with pytest.raises(ValueError, match="near_duplicate has to see the whole corpus"):
        ScoreStage(scorers="near_duplicate").setup()


def test_a_pipeline_of_its_own_reads_and_writes_around_them(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    pipeline = Pipeline(name="prune")
    pipeline.add_stage(JsonlReader(file_paths=str(corpus), files_per_partition=1))
    pipeline.add_stage(ScoreStage(scorers="length"))
    pipeline.add_stage(ThresholdStage(by="length", minimum=10))
    pipeline.add_stage(JsonlWriter(path=str(tmp_path / "kept")))
    pipeline.build()
    tasks: list[Task] = [EmptyTask()]
    for stage in pipeline.stages:
        # an executor sends a stage to its workers, each of which has it in an adapter
        worker = BaseStageAdapter(cloudpickle.loads(cloudpickle.dumps(stage)))
        worker.setup_on_node()
        worker.setup()
        tasks = worker.process_batch(tasks)
    found = read_rows(tmp_path / "kept")
    assert {*found} == {row["id"] for row in ROWS if len(row["text"]) >= 10}
    for row in ROWS:
        if row["id"] in found:
            assert found[row["id"]] == {**row, "length": len(row["text"])}
