"""Rows in another form than they were read in: lines of JSON as a table, and the rows of a table as lines of JSON.

    JSON                          table                 table                        JSON
    a text                        string                text                         a text
    whole numbers                 int64                 whole numbers, floats        a number; NaN and infinity null
    numbers, some with fractions  double                times, dates                 a text, ISO 8601
    true, false                   bool                  spans of time                seconds
    an array                      list                  decimals                     a text
    an object                     struct                bytes                        a text, Base64
    null, or a missing field      null                  lists, structs, null         an array, an object, null

A field has one type in all rows of a corpus, which `schema_of` finds; what has none is refused. An object that is empty
in every row has no column.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, cast

import numpy as np

from datapruner.corpus.format import Note, Rows, RowWriter
from datapruner.corpus.formats._arrow import ArrowRows
from datapruner.corpus.formats.jsonl import JsonlRows
from datapruner.corpus.joined_rows import JoinedRows
from datapruner.corpus.remote_files import AnyFile
from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ConvertedWriter:
    """Writes with `writer` what `converted` makes of the rows."""

    writer: RowWriter
    converted: Callable[[Rows], Rows]

    def write(self, rows: Rows, indices: Sequence[int], notes: Sequence[Note] | None = None) -> None:
        if indices:
            self.writer.write(self.converted(rows.take(indices)), range(len(indices)), notes)

    def close(self) -> None:
        self.writer.close()


def as_lines(rows: Rows) -> JsonlRows:
    """The rows of a table, each a line; raises ValueError with the place for a value that JSON has no word for."""
    if not isinstance(rows, ArrowRows):
        raise TypeError(f"want rows of a table, got {type(rows).__name__}")
    orjson = require("orjson", "data")
    try:
        found = rows.table.to_pylist()
        lines = [orjson.dumps(row, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY) for row in found]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{rows.location(0)} and after: cannot be written as JSON: {error}") from error
    numbers = np.arange(len(lines)) if rows.numbers is None else rows.numbers
    return JsonlRows(cast(AnyFile, rows.source), lines, numbers, rows.begin, rows.size, unit="row")


def as_table(rows: Rows, schema: pa.Schema) -> ArrowRows:
    """Lines of JSON as a table of `schema`; raises ValueError with the place where they do not fit."""
    pa = require("pyarrow", "data")
    try:
        # of structs without fields the number would be lost
        table = pa.Table.from_struct_array(pa.array(_objects(rows), pa.struct([*schema])))
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"{rows.location(0)} and after: cannot be rows of a table: {error}") from error
    return ArrowRows(rows.source_of(0), table, rows.begin, rows.size)


def schema_of(rows: Rows) -> pa.Schema:
    """The types of the fields of lines of JSON, in the order in which they come; raises ValueError with the place."""
    pa, objects = require("pyarrow", "data"), _objects(rows)
    try:
        found = pa.array(objects).type
    except (pa.ArrowException, OverflowError) as error:
        raise _mixed(rows, objects) or ValueError(f"{rows.location(0)} and after: {error}") from error
    return pa.schema([field.with_type(kind) for field in found if (kind := _filled(field.type)) is not None])


def _objects(rows: Rows) -> list[Mapping[str, object]]:
    if isinstance(rows, JoinedRows):
        return [found for part in rows.parts for found in _objects(part)]
    if not isinstance(rows, JsonlRows):
        raise TypeError(f"want rows of JSON lines, got {type(rows).__name__}")
    return [rows.parsed(index) for index in range(len(rows))]


def _mixed(rows: Rows, objects: Sequence[Mapping[str, object]]) -> ValueError | None:
    """Which row is the first that cannot stand in one column with those before it."""
    pa = require("pyarrow", "data")
    for name in dict.fromkeys(name for row in objects for name in row):
        values = [row.get(name) for row in objects]
        fits, wrong, reason = 0, len(values) + 1, ""
        while wrong - fits > 1:
            middle = (fits + wrong) // 2
            try:
                pa.array(values[:middle])
                fits = middle
            except (pa.ArrowException, OverflowError) as error:
                wrong, reason = middle, str(error)
        if wrong <= len(values):
            got = f"got {values[wrong - 1]!a:.80}: {reason:.200}"
            return ValueError(f"{rows.location(wrong - 1)}: want one type for the field {name!r} of a table, {got}")
    return None


def _filled(kind: pa.DataType) -> pa.DataType | None:
    """`kind` without objects that have no fields, which Parquet has no word for; None where nothing is left."""
    pa = require("pyarrow", "data")
    if pa.types.is_struct(kind):
        fields = [field.with_type(inner) for field in kind if (inner := _filled(field.type)) is not None]
        return pa.struct(fields) if fields else None
    if pa.types.is_list(kind):
        inner = _filled(kind.value_type)
        return None if inner is None else pa.list_(inner)
    return kind


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"want a value that JSON has, got {type(value).__name__}")
