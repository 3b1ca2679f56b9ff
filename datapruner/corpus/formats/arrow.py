"""Arrow files (IPC, with a footer or as a stream), as Feather and the saved folders of `datasets` are made of them.

Batches are read one after another, never the whole. Rows are written as Parquet, in their schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from datapruner.corpus.format import START, Begin, ReadOptions
from datapruner.corpus.formats import _arrow
from datapruner.corpus.formats._arrow import ArrowRows
from datapruner.corpus.formats._schema import check_names, joint_schema, plain_schema, plain_table
from datapruner.corpus.remote_files import AnyFile, RemoteFile
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".arrow", ".feather", ".ipc")
WRITTEN_AS = {suffix: ".parquet" for suffix in SUFFIXES}
MAGIC = b"ARROW1"


def read(
    path: AnyFile, options: ReadOptions, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[ArrowRows]:
    """The rows of `path` from `begin` on, with `columns` only where they are named."""
    pa, first = require("pyarrow", "data"), begin.offset
    with _opened(path) as (schema, batches):
        check_names(path, schema)
        _arrow.check_columns(path, plain_schema(schema), columns or ())
        tables = (plain_table(pa.Table.from_batches([batch])) for batch in batches)
        for table in _arrow.joined_steps(tables, options, begin):
            chosen = _arrow.chosen(table, columns)
            yield ArrowRows(path, chosen, Begin(first, first + 1), table.nbytes)
            first += len(table)


def is_sequential(path: AnyFile) -> bool:
    """Whether `path` has to be gone through from its start: steps hang on those before them."""
    return True


def check(paths: Sequence[AnyFile], columns: Sequence[str]) -> None:
    """Raise ValueError unless the files have one schema together, and each of them `columns`."""
    schemas = [(path, _schema(path)) for path in paths]
    joint_schema(schemas)
    for path, schema in schemas:
        _arrow.check_columns(path, schema, columns)


def _schema(path: AnyFile) -> pa.Schema:
    with _opened(path) as (schema, _):
        return plain_schema(schema)


@contextmanager
def _opened(path: AnyFile) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema of `path` and its batches; what is no such file is a ValueError."""
    pa = require("pyarrow", "data")
    with ExitStack() as stack:
        try:
            # of a file of this machine only what is looked at is read
            opened = pa.PythonFile(path.open()) if isinstance(path, RemoteFile) else pa.memory_map(str(path))
            file = stack.enter_context(opened)
            has_footer = file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            if has_footer:
                reader = stack.enter_context(pa.ipc.open_file(file))
                yield reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
            else:
                stream = stack.enter_context(pa.ipc.open_stream(file))
                yield stream.schema, iter(stream)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(f"{path}: want an Arrow file: {error}") from error


class Writer(_arrow.Writer):
    """Appends rows in the joint schema of the files `like` to a Parquet file."""

    def __init__(self, path: Path, like: Sequence[AnyFile], noted: Mapping[str, str] | None = None) -> None:
        super().__init__(path, joint_schema((file, _schema(file)) for file in like), noted)
