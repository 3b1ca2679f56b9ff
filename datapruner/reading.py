"""The first pass over the corpus: read and check every row and give it its uid, before any is scored."""

from __future__ import annotations

import numpy as np

from datapruner import progress, uids
from datapruner.extras import require
from datapruner.source import Chunk, Source
from datapruner.table import ROWS, ScoreTable


def read_rows(source: Source, table: ScoreTable) -> None:
    """Write the parts of `rows`; does nothing where that is done."""
    if table.manifest["rows"] is not None:
        return
    chunks = rows = 0
    with progress.display() as shown:
        bar = progress.Bar(shown, "reading", None)
        for chunk in source.identified():
            chunks, rows = chunks + 1, rows + len(chunk.rows)
            with bar.working(rows):
                if not table.part(ROWS, chunk.index).exists():
                    _write_rows(table, chunk)
    if not rows:
        raise ValueError(f"{', '.join(map(str, source.files()))}: want at least one row, got none")
    table.manifest["rows"], table.manifest["chunks"] = rows, chunks
    table.save()


def _write_rows(table: ScoreTable, chunk: Chunk) -> None:
    pa = require("pyarrow")
    groups = [None] * len(chunk.rows) if chunk.groups is None else chunk.groups
    columns = {
        "row": np.arange(chunk.start, chunk.start + len(chunk.rows), dtype=np.int64),
        "uid": pa.array(chunk.uids, pa.string()),
        "key": uids.hash64(chunk.uids),
        "group": pa.array(groups, pa.string()),
        "characters": np.array([len(text) for text in chunk.texts], dtype=np.int64),
    }
    table.write_part(ROWS, chunk.index, pa.table(columns))
