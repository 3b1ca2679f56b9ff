"""NeMo Curator: stages that score batches of documents and stages that drop rows of them, for its pipelines.

    from datapruner.integrations.nemo_curator import ScoreStage, SelectionStage, ThresholdStage
    pipeline.add_stage(ScoreStage(scorers=["length:unit=words", "perplexity:model=FOLDER"]))
    pipeline.add_stage(ThresholdStage(by="perplexity", maximum=400))

Scores are columns of the batch. Rows keep their order and every other column as it is: an Arrow table stays one, a
frame of pandas too. What has to see the whole corpus is two passes, as in `datatrove.py`. Where a `reason_column` is
named, nothing is dropped: it says why a row would be, and is empty where it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datapruner.corpus.field_paths import value_at
from datapruner.integrations._decisions import Decision, SavedSelection, Threshold
from datapruner.integrations._stream import BATCH, Documents, StreamScorers, texts_of
from datapruner.scoring.scorer import Scorer
from prunekernels.extras import require

require("nemo_curator.stages.base", "nemo-curator")
import pandas as pd  # type: ignore[import-untyped]  # noqa: E402
import pyarrow as pa  # noqa: E402
from nemo_curator.stages.base import ProcessingStage  # noqa: E402
from nemo_curator.stages.resources import Resources  # noqa: E402
from nemo_curator.tasks import DocumentBatch  # noqa: E402

if TYPE_CHECKING:
    from nemo_curator.backends.base import WorkerMetadata


@dataclass
class ScoreStage(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Adds a column for each score, and for each detail, as in "rules.failed".

    `scorers` as `datapruner.score` takes them; `text` and `uid` are the names of the columns. Raises ValueError where a
    scorer has to see the whole corpus, or where a column is there already.
    """

    scorers: str | Scorer | Sequence[str | Scorer]
    text: str = "text"
    uid: str = "id"
    name: str = "datapruner_scores"
    resources: Resources = field(default_factory=lambda: Resources(cpus=1.0))

    def __post_init__(self) -> None:
        self.stream = StreamScorers(self.scorers)

    def inputs(self) -> tuple[list[str], list[str]]:
        """What a batch must have."""
        return ["data"], [self.text, self.uid]

    def outputs(self) -> tuple[list[str], list[str]]:
        """What it has then beside that."""
        return ["data"], [name for name, scorer in self.stream.columns.items() if not scorer.is_vector]

    def ray_stage_spec(self) -> dict[str, bool]:
        """Models are loaded once a worker."""
        return {"is_actor_stage": True}

    def setup(self, worker_metadata: WorkerMetadata | None = None) -> None:
        """Refuse before anything is read."""
        _ = self.stream.states

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """`task` with its scores."""
        uids = [str(uid) for uid in _values(task, self.uid)]
        texts = texts_of(uids, _values(task, self.text))
        parts: dict[str, list[np.ndarray]] = {name: [np.zeros(0, np.float32)] for name in self.outputs()[1]}
        for start in range(0, len(uids), BATCH):
            rows = slice(start, start + BATCH)
            some = Documents(uids[rows], texts[rows], _reader(task, rows))
            for name, values in self.stream.score(some).items():
                parts.setdefault(name, []).append(values)
        columns = {name: np.concatenate(found) for name, found in parts.items()}
        if taken := [name for name in columns if name in task.get_columns()]:
            raise ValueError(f"the batch has a column {taken[0]!r}: name the score's, as in 'mine={taken[0]}'")
        return _with(task, columns)


@dataclass
class ThresholdStage(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Keeps rows with minimum <= the column `by` <= maximum, both ends included."""

    by: str
    minimum: float | None = None
    maximum: float | None = None
    uid: str = "id"
    reason_column: str | None = None
    name: str = "datapruner_threshold"

    def __post_init__(self) -> None:
        self.threshold = Threshold(self.by, self.minimum, self.maximum)

    def inputs(self) -> tuple[list[str], list[str]]:
        """What a batch must have."""
        return ["data"], [self.uid, self.by]

    def outputs(self) -> tuple[list[str], list[str]]:
        """What it has then beside that."""
        return ["data"], [] if self.reason_column is None else [self.reason_column]

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """`task` with the rows that are kept."""
        uids = [str(uid) for uid in _values(task, self.uid)]
        return _decided(task, self.threshold.decide(uids, _values(task, self.by)), self.reason_column)


@dataclass
class SelectionStage(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Keeps what the saved `selection` keeps, by the column `uid`: the uids of the source that was selected from.

    The scores of the selection, and `weight` where it has some, become columns; one that is there stays as it is.
    Raises ValueError for a row that the selection does not know.
    """

    selection: str | Path
    uid: str = "id"
    reason_column: str | None = None
    name: str = "datapruner_selection"

    @cached_property
    def saved(self) -> SavedSelection:
        """The file, read at first use."""
        return SavedSelection(Path(self.selection))

    def inputs(self) -> tuple[list[str], list[str]]:
        """What a batch must have."""
        return ["data"], [self.uid]

    def outputs(self) -> tuple[list[str], list[str]]:
        """What it has then beside that."""
        return ["data"], [] if self.reason_column is None else [self.reason_column]

    def ray_stage_spec(self) -> dict[str, bool]:
        """The file is read once a worker."""
        return {"is_actor_stage": True}

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """`task` with the rows that are kept."""
        decisions = self.saved.decide([str(uid) for uid in _values(task, self.uid)])
        there = {*task.get_columns()}
        names = dict.fromkeys(name for decision in decisions for name in decision.told if name not in there)
        told = {name: np.array([decision.told[name] for decision in decisions], np.float32) for name in names}
        return _decided(_with(task, told), decisions, self.reason_column)


def _values(task: DocumentBatch, name: str) -> list[object]:
    """What the rows have in the column `name`, or on a path into one; raises KeyError."""
    data = task.data
    if isinstance(data, pa.Table):
        if name in data.column_names:
            return data.column(name).to_pylist()
        return [value_at(row, name) for row in data.to_pylist()]
    if name in data.columns:
        return data[name].tolist()
    return [value_at(row, name) for row in data.to_dict("records")]


def _reader(task: DocumentBatch, rows: slice) -> Callable[[str], Sequence[object]]:
    """What gives `rows` of a column, by its name."""
    return lambda name: _values(task, name)[rows]


def _with(task: DocumentBatch, columns: Mapping[str, np.ndarray]) -> DocumentBatch:
    """A batch with `columns` behind those of `task`, which stays as it is."""
    data: pa.Table | pd.DataFrame = task.data
    # a column of reasons may have none in this batch, and is one of texts all the same
    texts = {name for name, values in columns.items() if values.dtype == object}
    if isinstance(data, pa.Table):
        for name, values in columns.items():
            data = data.append_column(name, pa.array(values, pa.string() if name in texts else None))
    else:
        given = {name: pd.array(values, "string") if name in texts else values for name, values in columns.items()}
        data = data.assign(**given)
    return replace(task, data=data)


def _decided(task: DocumentBatch, decisions: Sequence[Decision], reason_column: str | None) -> DocumentBatch:
    if reason_column is not None:
        if reason_column in task.get_columns():
            raise ValueError(f"the batch has a column {reason_column!r}: want another name for the reasons")
        return _with(task, {reason_column: np.array([decision.reason for decision in decisions], dtype=object)})
    kept = np.array([decision.reason is None for decision in decisions], dtype=bool)
    data = task.data
    return replace(task, data=data.filter(pa.array(kept)) if isinstance(data, pa.Table) else data[kept])
