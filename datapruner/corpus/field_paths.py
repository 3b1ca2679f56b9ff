"""Names of fields: a field of the row, or a path into it, as in `meta.pile_set_name` or `messages.0.content`.

A field that is called so, dots and all, is taken before a path is looked for. The steps of a path are names in
objects and numbers in lists, from 0; negative ones count from the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa


def value_at(row: Mapping[str, object], name: str) -> object:
    """The value of `name` in `row`; raises KeyError where there is none."""
    root, steps = root_of(name, row)
    return value_inside(row[root], steps)


def root_of(name: str, known: Collection[str]) -> tuple[str, list[str]]:
    """Which of the columns `known` has `name`, and the steps that lead on from it; raises KeyError where none has."""
    if name in known:
        return name, []
    steps = name.split(".")
    # the longest first: a column may have dots in its name
    for n in range(len(steps) - 1, 0, -1):
        if (root := ".".join(steps[:n])) in known:
            return root, steps[n:]
    raise KeyError(name)


def column_path(name: str, schema: pa.Schema) -> str:
    """As much of `name` as Parquet can read by itself: through structs, not into lists; raises KeyError."""
    types = require("pyarrow", "data").types
    root, steps = root_of(name, schema.names)
    path, kind = [root], schema.field(root).type
    for step in steps:
        if not types.is_struct(kind):
            break
        if kind.get_field_index(step) < 0:
            raise KeyError(name)
        path.append(step)
        kind = kind.field(step).type
    return ".".join(path)


def column_at(name: str, table: pa.Table) -> tuple[pa.ChunkedArray, list[str]]:
    """The column `name` of `table`, and the steps that are left where a list is on the way; raises KeyError."""
    pa, compute = require("pyarrow", "data"), require("pyarrow.compute", "data")
    root, steps = root_of(name, table.column_names)
    column = table.column(root)
    while steps and pa.types.is_struct(column.type):
        if column.type.get_field_index(steps[0]) < 0:
            raise KeyError(name)
        column, steps = compute.struct_field(column, steps[0]), steps[1:]
    return column, steps


def value_inside(value: object, steps: Sequence[str]) -> object:
    """What the `steps` lead to from `value`; raises KeyError where they lead nowhere."""
    for step in steps:
        value = _inside(value, step)
    return value


def _inside(value: object, step: str) -> object:
    if isinstance(value, Mapping):
        return value[step]
    if isinstance(value, list) and step.removeprefix("-").isdecimal():
        try:
            return value[int(step)]
        except IndexError:
            raise KeyError(step) from None
    raise KeyError(step)
