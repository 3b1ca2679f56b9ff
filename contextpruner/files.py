"""Documents from files and standard input, and results to files that are whole or absent.

A file that ends in .jsonl holds one object a line, {"id", "title", "text"}, of which only the text is needed;
any other file is one document whose id is the path as it was given. "-" is standard input, read as one text.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from contextpruner.document import Document

FIELDS = ("id", "title", "text")


def read_files(paths: Sequence[str], stdin: BinaryIO) -> list[Document]:
    """All documents of `paths` in order; raises ValueError naming file, line and field."""
    if list(paths).count("-") > 1:
        raise ValueError('standard input can be read only once, got "-" twice')
    return [document for path in paths for document in _read_file(path, stdin)]


def write_whole(path: Path, text: str) -> None:
    """Write `text` under a temporary name beside `path`, then rename it."""
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        # mkstemp makes files for the owner's eyes only
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _read_file(path: str, stdin: BinaryIO) -> list[Document]:
    data = stdin.read() if path == "-" else Path(path).read_bytes()
    name = "standard input" if path == "-" else path
    if path.endswith(".jsonl"):
        lines = enumerate(data.split(b"\n"), 1)
        documents = [_record(f"{path}:{number}", line) for number, line in lines if line.strip()]
        if not documents:
            raise ValueError(f"{path} holds no documents")
        return documents
    return [Document(_decode(name, data), id=path)]


def _decode(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from None


def _record(place: str, line: bytes) -> Document:
    try:
        record = json.loads(_decode(place, line))
    except json.JSONDecodeError as error:
        raise ValueError(f"{place} is not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(record, dict):
        raise ValueError(f"{place} wants an object with a text, got {type(record).__name__}")
    key, title, text = (record.get(field) for field in FIELDS)
    if not isinstance(text, str):
        got = type(text).__name__ if "text" in record else f"only {', '.join(map(str, record)) or 'no fields'}"
        raise ValueError(f"{place}: text wants a string, got {got}")
    if title is not None and not isinstance(title, str):
        raise ValueError(f"{place}: title wants a string, got {type(title).__name__}")
    if isinstance(key, bool) or not isinstance(key, str | int | None):
        raise ValueError(f"{place}: id wants a string or an integer, got {type(key).__name__}")
    return Document(text, key, title)
