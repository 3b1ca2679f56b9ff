"""`manifest.json` of a score table: what the input was and how each column was made; written and read strictly.

A table may come from anywhere: every value is checked for its kind where it is read, names of columns are single
parts of a path, and a CRC-32 of the canonical text finds what was changed since.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TypedDict

from datapruner.corpus.fingerprint import FileFingerprint
from datapruner.corpus.table_files import table_file
from datapruner.scoring.scorer import Value
from prunekernels.io.json_files import Fields

FORMAT = 3
MANIFEST = "manifest.json"
ROWS = "rows"
# the fields of a row that every input says; others may come
NAMED = ("text", "uid", "group", "label")
# parts are named by numbers of eight digits
MOST_CHUNKS = 10**8


class Input(TypedDict):
    """The corpus as the table read it."""

    files: list[FileFingerprint]
    fields: dict[str, str | None]
    chunk_rows: int
    chunk_bytes: int


class Column(TypedDict):
    """How a column was made; `selector` is the text form of the rule that its kind of score is for, `rows` a hash of
    the numbers of the rows that it has, None: all."""

    method: str
    spec: str
    fields: dict[str, Value]
    version: int
    identity: dict[str, str]
    direction: str
    selector: str
    package: str
    is_vector: bool
    complete: bool
    rows: str | None


class Manifest(TypedDict):
    """What `manifest.json` holds; `rows` and `chunks` are None until the input was read to its end."""

    format: int
    input: Input
    rows: int | None
    chunks: int | None
    columns: dict[str, Column]


def read_manifest(file: Path) -> Manifest:
    """The manifest in `file`; raises ValueError, in one line that names the place, for what `save_manifest` did not
    write or somebody changed since."""
    found = Fields.read(file)
    if found.format(FORMAT) < FORMAT:
        raise ValueError(f"{file}: want format {FORMAT}, got an older one: score the corpus anew")
    found.only((*Manifest.__annotations__, "checksum"))
    rows = found.integer("rows", minimum=1) if found.has("rows") else None
    chunks = None if rows is None else found.integer("chunks", minimum=1, maximum=min(rows, MOST_CHUNKS))
    columns = {name: read_column(column) for name, column in found.named("columns").items()}
    if ROWS in columns:
        raise ValueError(f"{file}: columns: want another name than {ROWS!r}")
    manifest = Manifest(
        format=FORMAT, input=read_input(found.fields("input")), rows=rows, chunks=chunks, columns=columns
    )
    if found.text("checksum") != _checksum(manifest):
        raise ValueError(f"{file}: its checksum is of another content: it was changed since it was written")
    return manifest


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest` into `folder`; it appears whole."""
    with table_file(folder, MANIFEST) as temporary:
        temporary.write_text(_text({**manifest, "checksum": _checksum(manifest)}, indent=1) + "\n", encoding="utf-8")


def read_input(found: Fields) -> Input:
    """An input as it was recorded, in a manifest or a selection."""
    found.only(Input.__annotations__)
    return Input(
        files=[_file(item) for item in found.list_of_fields("files")],
        fields=_texts_or_none(found.fields("fields")),
        chunk_rows=found.integer("chunk_rows", minimum=1),
        chunk_bytes=found.integer("chunk_bytes", minimum=1),
    )


def read_column(found: Fields) -> Column:
    """A column as it was recorded."""
    found.only(Column.__annotations__)
    fields, identity = found.fields("fields"), found.fields("identity")
    return Column(
        method=found.text("method"),
        spec=found.text("spec"),
        fields={key: _plain(fields, key) for key in fields.values},
        version=found.integer("version"),
        identity={key: identity.text(key) for key in identity.values},
        direction=found.text("direction"),
        selector=found.text("selector"),
        package=found.text("package"),
        is_vector=found.flag("is_vector"),
        complete=found.flag("complete"),
        rows=found.text("rows") if found.has("rows") else None,
    )


def _file(found: Fields) -> FileFingerprint:
    found.only(FileFingerprint.__annotations__)
    made = FileFingerprint(
        name=found.text("name"), bytes=found.integer("bytes", minimum=0), blake2b=found.text("blake2b")
    )
    if found.has("of"):
        made["of"] = found.text("of")
    if found.has("images"):
        made["images"] = found.text("images")
    return made


def _texts_or_none(found: Fields) -> dict[str, str | None]:
    missing = next((name for name in NAMED if name not in found.values), None)
    if missing is not None:
        raise ValueError(f"{found.place}: want a key {missing!r}, got none")
    return {key: found.text(key) if found.has(key) else None for key in found.values}


def _plain(found: Fields, key: str) -> Value:
    value = found.values[key]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"{found.place}: {key}: want text, a number, a truth or null, got {value!a:.80}")


def _checksum(manifest: Manifest) -> str:
    return f"{zlib.crc32(_text(manifest).encode()):08x}"


def _text(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False)
