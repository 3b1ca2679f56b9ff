"""The first pass over the corpus: read and check every row and give it its uid.

Scorers that cost less than reading (`Scorer.is_cheap`) score the rows while they are at hand.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from datapruner.corpus import bad_rows
from datapruner.corpus.bad_rows import SKIPPED, SkipCallback, SkippedFile
from datapruner.corpus.chunks import Chunk, ChunkOffset, save_chunk_offsets
from datapruner.corpus.fingerprint import FileFingerprint
from datapruner.corpus.source import Source
from datapruner.corpus.table_files import table_file
from datapruner.corpus.token_counter import TokenCounter, token_counter
from datapruner.scoring import progress
from datapruner.scoring.manifest import ROWS
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Batch, Scorer
from datapruner.scoring.worker import source_batch, source_fields
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa

# chunks whose parts are in memory and not on disk yet: what a kill costs of cheap scores, beside the chunk at hand
MOST_WAITING = 4


def read_rows(
    source: Source, table: ScoreTable, cheap: Mapping[str, Scorer], hashed: Callable[[], list[FileFingerprint]]
) -> None:
    """Write the parts of `rows` and `cheap`, and the offsets of the chunks; does nothing where that is done.

    `hashed` gives the fingerprint of the source, which may still be in the making: the table has it at the end.
    """
    if table.manifest["rows"] is not None:
        return
    if source.on_error == "refuse":
        offsets = _read_chunks(source, table, cheap, bad_rows.ignore)
    else:
        with table_file(table.path, SKIPPED) as path:
            skipped = SkippedFile(path)
            offsets = _read_chunks(source, table, cheap, skipped.add)
        if skipped.first is not None:
            first = f"the first is {skipped.first.place}: {skipped.first.reason}"
            if not offsets:
                raise ValueError(f"want at least one row, got none: all {skipped.count:,} were skipped, {first}")
            warnings.warn(f"{skipped.count:,} rows were skipped, see {table.path / SKIPPED}; {first}", stacklevel=3)
    if not offsets:
        raise ValueError(f"{', '.join(map(str, source.files()))}: want at least one row, got none")
    save_chunk_offsets(table.path, offsets)
    table.manifest["input"]["files"] = hashed()
    table.manifest["rows"], table.manifest["chunks"] = sum(offset.rows for offset in offsets), len(offsets)
    table.save()


def _read_chunks(
    source: Source, table: ScoreTable, cheap: Mapping[str, Scorer], on_skip: SkipCallback
) -> list[ChunkOffset]:
    offsets: list[ChunkOffset] = []
    counting, rows = token_counter(source.tokens), 0
    with progress.display() as shown, _writing() as write:
        bar = progress.Bar(shown, "reading", None)
        for chunk in source.identified(source_fields(table, cheap), on_skip):
            offsets.append(chunk.offset)
            rows += len(chunk.rows)
            with bar.working(rows):
                parts = _parts(table, chunk, source_batch(source, chunk, cheap), cheap, counting)
                if parts:
                    write(parts)
    return offsets


def _parts(
    table: ScoreTable, chunk: Chunk, batch: Batch, cheap: Mapping[str, Scorer], counting: TokenCounter
) -> list[Callable[[], None]]:
    """What writes the parts of `chunk` that are not there."""
    parts: list[Callable[[], None]] = []
    if not table.part(ROWS, chunk.index).exists():
        parts.append(partial(table.write_part, ROWS, chunk.index, _row_columns(batch, counting)))
    for name, scorer in cheap.items():
        if not table.part(name, chunk.index).exists():
            made = scorer.checked(batch), scorer.detailed(batch)
            parts.append(partial(table.write_scores, name, chunk.index, *made))
    return parts


@contextmanager
def _writing() -> Iterator[Callable[[list[Callable[[], None]]], None]]:
    """The parts of a chunk are compressed and brought to disk in a thread of their own, a few chunks behind; all are
    there at the end."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[None]] = deque()

        def write(parts: list[Callable[[], None]]) -> None:
            waiting.append(pool.submit(_call_all, parts))
            if len(waiting) > MOST_WAITING:
                waiting.popleft().result()

        yield write
        for future in waiting:
            future.result()


def _call_all(parts: list[Callable[[], None]]) -> None:
    for part in parts:
        part()


def _row_columns(batch: Batch, counting: TokenCounter) -> pa.Table:
    pa = require("pyarrow", "data")
    # without texts there is nothing to count
    missing = [None] * len(batch)
    texts = batch.texts or None
    columns = {
        "row": batch.rows,
        "uid": pa.array(batch.uids, pa.string()),
        "key": batch.keys,
        "group": pa.array(missing if batch.groups is None else batch.groups, pa.string()),
        "characters": pa.array(missing if texts is None else [len(text) for text in texts], pa.int64()),
        "tokens": pa.array(missing if texts is None else counting.count(texts), pa.int64()),
    }
    return pa.table(columns)
