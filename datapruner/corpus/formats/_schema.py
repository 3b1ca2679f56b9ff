"""One schema for the files of a corpus: columns are matched by name, whatever their order; a file may lack some.

What a file lacks is missing in its rows; a column without a type, as one that is all null, takes that of the others;
whole numbers become larger ones or floats where others have them. What cannot be one column is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prunekernels.extras import require

if TYPE_CHECKING:
    import pyarrow as pa


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """`schema` with views of strings, bytes and lists as what they are views of: few functions of Arrow take them."""
    pa = require("pyarrow", "data")
    fields = [field.with_type(_plain(field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)


def plain_table(table: pa.Table) -> pa.Table:
    """`table` in its plain schema."""
    plain = plain_schema(table.schema)
    return table if plain.equals(table.schema) else table.cast(plain)


def check_names(source: object, schema: pa.Schema) -> None:
    """Raise ValueError where two columns have one name: nobody could say which is meant."""
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{source}: want columns of unlike names, got {twice[0]!r} {schema.names.count(twice[0])} times"
        )


def joint_schema(schemas: Iterable[tuple[object, pa.Schema]]) -> pa.Schema:
    """The schema of all files, each given with its own; raises ValueError, naming the file, where there is none."""
    pa = require("pyarrow", "data")
    joint = first = last = None
    for source, schema in schemas:
        # of many files most have the schema of the one before
        if last is not None and schema.equals(last):
            continue
        last = schema
        check_names(source, schema)
        if joint is None:
            joint, first = schema, source
            continue
        if _types(schema) == _types(joint):
            continue
        try:
            joint = pa.unify_schemas([_loose(joint), _loose(schema)], promote_options="permissive")
        except (pa.ArrowException, TypeError, ValueError) as error:
            reason = str(error).partition(": ")[2] or str(error)
            raise ValueError(f"{source}: want the columns of {first}, in any order, got others: {reason}") from error
    if joint is None:
        raise ValueError("want at least one file, got none")
    return joint


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns of `schema`, in their order; what it lacks is null. Raises Arrow's errors."""
    if table.schema.equals(schema, check_metadata=True):
        return table
    pa = require("pyarrow", "data")
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _types(schema: pa.Schema) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in schema}


def _loose(schema: pa.Schema) -> pa.Schema:
    """`schema` without what differs from file to file and says nothing of the values: metadata, dictionaries."""
    types = require("pyarrow", "data").types
    for place, field in enumerate(schema):
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        schema = schema.set(place, field.with_type(kind).with_nullable(True).remove_metadata())
    return schema.remove_metadata()


def _plain(kind: pa.DataType) -> pa.DataType:
    pa = require("pyarrow", "data")
    types = pa.types
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    if types.is_list_view(kind) or types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    if types.is_large_list_view(kind) or types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_plain(kind.value_type)))
    return kind
