"""datatrove: steps that score documents and filters that drop them, for its pipelines and executors.

    from datapruner.integrations.datatrove import ScoreDocuments, SelectionFilter, ThresholdFilter
    pipeline = [
        JsonlReader("corpus/"),
        ScoreDocuments(["length:unit=words", "perplexity:model=FOLDER"]),
        ThresholdFilter("perplexity", maximum=400, exclusion_writer=JsonlWriter("dropped/")),
        JsonlWriter("kept/"),
    ]

Scores stand in the document's metadata under the names of their columns. What has to see the whole corpus (a number of
rows, a share of each source, near duplicates) is two passes: `datapruner.score` and `select` over what the first one
wrote, then `SelectionFilter` over the same documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datapruner.corpus.field_paths import value_at
from datapruner.integrations._decisions import Decision, SavedSelection, Threshold
from datapruner.integrations._stream import BATCH, Documents, StreamScorers, texts_of
from datapruner.scoring.scorer import Scorer
from prunekernels.extras import require

require("datatrove.pipeline.base", "datatrove")
from datatrove.data import Document, DocumentsPipeline  # noqa: E402
from datatrove.pipeline.base import PipelineStep  # noqa: E402
from datatrove.pipeline.filters.base_filter import BaseFilter  # noqa: E402
from datatrove.utils.batching import batched  # noqa: E402

if TYPE_CHECKING:
    from datatrove.pipeline.writers.disk_base import DiskWriter


class ScoreDocuments(PipelineStep):
    """Writes scores into the metadata of every document, in batches; no document is dropped, and their order stays.

    `scorers` as `datapruner.score` takes them. Raises ValueError where one has to see the whole corpus, or where a
    document has something under a score's name already.
    """

    type = "📊 - SCORER"
    name = "datapruner scores"

    def __init__(self, scorers: str | Scorer | Sequence[str | Scorer], batch_size: int = BATCH) -> None:
        super().__init__()
        self.scorers, self.batch_size = StreamScorers(scorers), batch_size

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """The documents with their scores."""
        # refused before anything is read
        _ = self.scorers.states
        for batch in batched(data, self.batch_size):
            with self.track_time("batch"):
                self._note(batch)
            for document in batch:
                self.update_doc_stats(document)
                yield document

    def _note(self, batch: Sequence[Document]) -> None:
        uids = _uids(batch)
        texts = texts_of(uids, [document.text for document in batch])
        found = self.scorers.score(Documents(uids, texts, lambda name: _values(batch, name)))
        for name, values in found.items():
            for document, value in zip(batch, values.tolist(), strict=True):
                if name in document.metadata:
                    raise ValueError(
                        f"document {document.id!r} has {name!r} in its metadata: name the column, as in 'mine={name}'"
                    )
                document.metadata[name] = value
                if isinstance(value, float):
                    self.stat_update(name, value=value, unit="doc")


class ThresholdFilter(BaseFilter):
    """Keeps documents with minimum <= metadata[by] <= maximum, both ends included; the others carry the reason."""

    name = "datapruner threshold"

    def __init__(
        self,
        by: str,
        minimum: float | None = None,
        maximum: float | None = None,
        exclusion_writer: DiskWriter | None = None,
    ) -> None:
        super().__init__(exclusion_writer, BATCH)
        self.threshold = Threshold(by, minimum, maximum)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether `doc` is kept, or False and why not."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        """The same for several."""
        scores = [document.metadata.get(self.threshold.by) for document in batch]
        return [_result(decision) for decision in self.threshold.decide(_uids(batch), scores)]


class SelectionFilter(BaseFilter):
    """Keeps what a saved selection keeps, by the documents' ids: the uids of the source that was selected from.

    The scores of the selection, and `weight` where it has some, go into the metadata; a name that is there stays as it
    is. Raises ValueError for a document that the selection does not know.
    """

    name = "datapruner selection"

    def __init__(self, selection: str | Path, exclusion_writer: DiskWriter | None = None) -> None:
        super().__init__(exclusion_writer, BATCH)
        self.selection = SavedSelection(Path(selection))

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether `doc` is kept, or False and why not."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        """The same for several."""
        decisions = self.selection.decide(_uids(batch))
        for document, decision in zip(batch, decisions, strict=True):
            document.metadata = {**decision.told, **document.metadata}
        return [_result(decision) for decision in decisions]


def _uids(batch: Sequence[Document]) -> list[str]:
    return [str(document.id) for document in batch]


def _values(batch: Sequence[Document], name: str) -> list[object]:
    return [value_at(document.metadata, name) for document in batch]


def _result(decision: Decision) -> bool | tuple[bool, str]:
    return True if decision.reason is None else (False, decision.reason)
