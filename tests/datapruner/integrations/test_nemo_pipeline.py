"""Our stages in a pipeline of NeMo Curator on a local Ray: `make engines`, for what Ray costs to start."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("nemo_curator")
from nemo_curator.backends.ray_data import RayDataExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.text.io.reader import JsonlReader
from nemo_curator.stages.text.io.writer import JsonlWriter

from datapruner.integrations.nemo_curator import ScoreStage, ThresholdStage
from tests.datapruner.integrations.documents import ROWS, read_rows, write_corpus


def test_a_pipeline_of_its_own_on_ray(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    pipeline = Pipeline(name="prune")
    pipeline.add_stage(JsonlReader(file_paths=str(corpus), files_per_partition=1))
    pipeline.add_stage(ScoreStage(scorers="length"))
    pipeline.add_stage(ThresholdStage(by="length", minimum=10))
    pipeline.add_stage(JsonlWriter(path=str(tmp_path / "kept")))
    pipeline.run(RayDataExecutor())
    found = read_rows(tmp_path / "kept")
    assert {*found} == {row["id"] for row in ROWS if len(row["text"]) >= 10}
    for row in ROWS:
        if row["id"] in found:
            assert found[row["id"]] == {**row, "length": len(row["text"])}
