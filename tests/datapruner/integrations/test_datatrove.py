"""datatrove's readers, executor and writers around our steps: no document is lost, changed or mixed with another."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("datatrove")
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter

import datapruner
from datapruner.embedders.hashed_ngrams import HashedNgrams
from datapruner.integrations.datatrove import ScoreDocuments, SelectionFilter, ThresholdFilter
from datapruner.scoring.safetensors_mmap import save_safetensors
from datapruner.scoring.scorer import Batch
from tests.datapruner.integrations.documents import ROWS, read_rows, write_corpus
from tests.datapruner.tiny_models import save_tiny_model


def documents() -> list[Document]:
    return [Document(row["text"], row["id"], metadata=copy.deepcopy(row["metadata"])) for row in ROWS]


def run(step: PipelineStep, given: Iterable[Document]) -> list[Document]:
    return [*step(iter(given))]


def execute(*steps: PipelineStep, tasks: int = 2) -> None:
    """What an executor does for each task, in this process."""
    for rank in range(tasks):
        data = None
        for step in copy.deepcopy(steps):
            data = step(data, rank, tasks)
        for _ in data:
            pass


def writer(folder: Path) -> JsonlWriter:
    return JsonlWriter(str(folder), compression=None)


def test_scores_are_those_of_a_table_and_nothing_else_is_changed(tmp_path: Path) -> None:
    corpus, model = write_corpus(tmp_path / "corpus"), save_tiny_model(tmp_path / "model")
    scorers = ["words=length:unit=words", f"perplexity:model={model}", "rules:sets=gopher"]
    step = ScoreDocuments(scorers, batch_size=5)
    execute(JsonlReader(str(corpus)), step, writer(tmp_path / "scored"))
    table = datapruner.score(datapruner.Source(corpus, uid="id"), scorers, out=tmp_path / "table")
    uids = table.read("rows", "uid").to_pylist()
    found = read_rows(tmp_path / "scored")
    assert found.keys() == {*uids} == {row["id"] for row in ROWS}
    for name in ("words", "perplexity", "rules"):
        wanted = dict(zip(uids, table.scores(name).tolist(), strict=True))
        got = {uid: row["metadata"].pop(name) for uid, row in found.items()}
        # sums of float32 in batches of another size
        assert got == pytest.approx(wanted, rel=1e-5)
    for row in ROWS:
        metadata = found[row["id"]]["metadata"]
        assert metadata.pop("rules.failed")
        assert metadata.pop("file_path")
        assert found[row["id"]] == row


def test_a_threshold_is_one_pass_with_its_reasons(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    dropped = writer(tmp_path / "dropped")
    limits = ThresholdFilter("length", minimum=10, maximum=50, exclusion_writer=dropped)
    steps = [JsonlReader(str(corpus)), ScoreDocuments("length"), limits, writer(tmp_path / "kept")]
    LocalPipelineExecutor(steps, tasks=2, logging_dir=str(tmp_path / "log"), skip_completed=False).run()
    kept, gone = read_rows(tmp_path / "kept"), read_rows(tmp_path / "dropped")
    table = datapruner.score(datapruner.Source(corpus, uid="id"), "length", out=tmp_path / "table")
    wanted = datapruner.select(table, "threshold:minimum=10,maximum=50")
    assert {*kept} == {*wanted.kept_uids}
    assert {uid: row["metadata"]["filter_reason"] for uid, row in gone.items()} == {
        wanted.uid(row): wanted.reason(row) for row in wanted.dropped
    }
    assert 0 < len(kept) < len(ROWS)
    assert len({row["metadata"]["filter_reason"] for row in gone.values()}) == 2


def test_a_share_of_each_source_is_two_passes(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    execute(JsonlReader(str(corpus)), ScoreDocuments("length"), writer(tmp_path / "scored"))
    scored = datapruner.Source(tmp_path / "scored", uid="id", group="metadata.source")
    table = datapruner.score(scored, "length=field:name=metadata.length", out=tmp_path / "table")
    selection = datapruner.select(table, "top", by="length", keep_ratio=0.5, per="metadata.source")
    selection.save(tmp_path / "selection.parquet")
    chosen = SelectionFilter(tmp_path / "selection.parquet", exclusion_writer=writer(tmp_path / "dropped"))
    # three tasks for two files: one of them has nothing to do
    execute(JsonlReader(str(corpus)), chosen, writer(tmp_path / "kept"), tasks=3)
    kept, gone = read_rows(tmp_path / "kept"), read_rows(tmp_path / "dropped")
    assert {*kept} == {*selection.kept_uids}
    for row in selection.dropped.tolist():
        assert gone[selection.uid(row)]["metadata"]["filter_reason"] == selection.reason(row)
    for row in ROWS:
        found = kept.get(row["id"]) or gone[row["id"]]
        assert found["text"] == row["text"]
        assert row["metadata"].items() <= found["metadata"].items()
        assert found["metadata"]["length"] == len(row["text"])
    assert sum(row["metadata"]["source"] == "books" for row in kept.values()) == 2
    with pytest.raises(ValueError, match="want a decision for document 'another'"):
        run(SelectionFilter(tmp_path / "selection.parquet"), [Document("text", "another")])


def test_a_scorer_reads_vectors_of_an_embedder_before_it_and_numbers_of_the_metadata(tmp_path: Path) -> None:
    head = {"weight": np.arange(16, dtype=np.float32), "bias": np.array([0.5], np.float32)}
    save_safetensors(head, tmp_path / "head.safetensors")
    quality = f"quality_head:features=words,head={tmp_path / 'head.safetensors'}"
    found = run(ScoreDocuments(["words=hashed_ngrams:dims=16", quality, "year=field:name=nested.year"]), documents())
    texts = [row["text"] for row in ROWS]
    vectors = HashedNgrams(dims=16).score(Batch(np.arange(len(ROWS)), texts, texts))
    for number, document in enumerate(found):
        assert document.metadata["year"] == 1990 + number
        assert "words" not in document.metadata
        assert document.metadata["quality_head"] == pytest.approx(float(vectors[number] @ head["weight"] + 0.5))


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        ("near_duplicate", "near_duplicate has to see the whole corpus"),
        ("perplexity:reference=train", "perplexity has to see the whole corpus"),
        ("image_size", "image_size wants images"),
        ("array:path={array}", "want a vector for row"),
        ("field:name=absent", "want a number, or numbers of one length, as 'absent'"),
    ],
)
def test_what_a_stream_cannot_score_is_refused(scorer: str, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.ones((len(ROWS), 3), np.float32))
    with pytest.raises(ValueError, match=message):
        run(ScoreDocuments(scorer.format(array=tmp_path / "vectors.npy")), documents())


def test_what_has_no_score_or_one_already_is_refused() -> None:
    with pytest.raises(ValueError, match="document 'row-0': want a number as 'length', got None"):
        run(ThresholdFilter("length", maximum=3), documents())
    with pytest.raises(ValueError, match="want a minimum, a maximum or both"):
        ThresholdFilter("length")
    with pytest.raises(ValueError, match="threshold wants minimum <= maximum"):
        ThresholdFilter("length", minimum=4, maximum=3)
    scored = run(ScoreDocuments("length"), documents())
    with pytest.raises(ValueError, match="'row-0' has 'length' in its metadata"):
        run(ScoreDocuments("length"), scored)
    with pytest.raises(ValueError, match="document 'a': want a text, got int"):
        run(ScoreDocuments("length"), [Document(3, "a")])  # type: ignore[arg-type]


def test_a_copy_for_another_task_loads_its_own_model(tmp_path: Path) -> None:
    step = ScoreDocuments(f"perplexity:model={save_tiny_model(tmp_path / 'model')}")
    first = [document.metadata["perplexity"] for document in run(step, documents())]
    other = copy.deepcopy(step)
    assert "states" not in vars(other.scorers)
    assert vars(step.scorers.columns["perplexity"]).keys() > vars(other.scorers.columns["perplexity"]).keys()
    backwards = run(other, documents()[::-1])
    assert [document.metadata["perplexity"] for document in backwards][::-1] == pytest.approx(first, rel=1e-5)
