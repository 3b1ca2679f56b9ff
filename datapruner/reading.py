"""The first pass over the corpus: read and check every row and give it its uid.

Scorers that cost less than reading (`Scorer.is_cheap`) score the rows while they are at hand.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from datapruner import progress, uids
from datapruner.extras import require
from datapruner.places import Place, load_places, save_places
from datapruner.scorer import Batch, Scorer
from datapruner.source import Chunk, Source
from datapruner.table import ROWS, ScoreTable
from datapruner.tokens import Counter, counter
from datapruner.worker import write_scores

__all__ = ["Place", "load_places", "read_rows"]


def read_rows(source: Source, table: ScoreTable, cheap: Mapping[str, Scorer]) -> None:
    """Write the parts of `rows` and `cheap`, and the places of the chunks; does nothing where that is done."""
    if table.manifest["rows"] is not None:
        return
    places: list[Place] = []
    counting, rows = counter(source.tokens), 0
    with progress.display() as shown:
        bar = progress.Bar(shown, "reading", None)
        for chunk in source.identified():
            places.append(chunk.place)
            rows += len(chunk.rows)
            with bar.working(rows):
                if not table.part(ROWS, chunk.index).exists():
                    _write_rows(table, chunk, counting)
                _score(table, chunk, cheap)
    if not rows:
        raise ValueError(f"{', '.join(map(str, source.files()))}: want at least one row, got none")
    save_places(table.path, places)
    table.manifest["rows"], table.manifest["chunks"] = rows, len(places)
    table.save()


def _write_rows(table: ScoreTable, chunk: Chunk, counting: Counter) -> None:
    pa = require("pyarrow")
    # without texts there is nothing to count
    missing = [None] * len(chunk.rows)
    texts = chunk.texts or None
    columns = {
        "row": np.arange(chunk.start, chunk.start + len(chunk.rows), dtype=np.int64),
        "uid": pa.array(chunk.uids, pa.string()),
        "key": uids.hash64(chunk.uids),
        "group": pa.array(missing if chunk.groups is None else chunk.groups, pa.string()),
        "characters": pa.array(missing if texts is None else [len(text) for text in texts], pa.int64()),
        "tokens": pa.array(missing if texts is None else counting.count(texts), pa.int64()),
    }
    table.write_part(ROWS, chunk.index, pa.table(columns))


def _score(table: ScoreTable, chunk: Chunk, cheap: Mapping[str, Scorer]) -> None:
    rows = np.arange(chunk.start, chunk.start + len(chunk.rows), dtype=np.int64)
    batch = Batch(rows, chunk.uids, chunk.texts, chunk.groups, chunk.labels, chunk.images)
    for name, scorer in cheap.items():
        if not table.part(name, chunk.index).exists():
            write_scores(table, name, chunk.index, scorer.checked(batch), scorer.details(batch))
