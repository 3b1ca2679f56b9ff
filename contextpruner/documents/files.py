"""Documents from files, folders and standard input.

A file that ends in .jsonl holds one object a line, {"id", "title", "text", "format"}, of which only the text is
needed; any other file is one document whose id is the path as it was given, in the format that its suffix names
(`format_detection`). A folder stands for its files, and those of the folders in it, in the order of their paths;
links are followed, hidden ones are left out, and so are those that are no text. "-" is standard input, read as one
text.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from contextpruner.documents.document import TEXTS, Document, document_from_fields
from contextpruner.documents.encodings import decode, is_text
from contextpruner.documents.format_detection import format_of_suffix
from prunekernels.io.json_files import parse_object
from prunekernels.io.streams import bounded_lines, read_bounded

# one text, or one file of them: nobody wrote a longer one, and a stream may have no end
MAX_BYTES = 256 << 20

# where each line stands, and the line
Lines = Iterable[tuple[str, bytes]]


class ReadFiles(NamedTuple):
    """The documents of files, and the files in folders that were passed over as they are no text."""

    documents: list[Document]
    no_text: list[str]


def read_files(paths: Sequence[str], stdin: BinaryIO, encoding: str = "utf-8") -> ReadFiles:
    """All documents of `paths` in order; raises ValueError naming file, line and field.

    `encoding` is that of texts (`encodings`); JSON lines are UTF-8.
    """
    if list(paths).count("-") > 1:
        raise ValueError('standard input can be read only once, got "-" twice')
    found = ReadFiles([], [])
    for given in paths:
        files = _files(given)
        for path in files:
            data = _read(path, stdin)
            if path != given and not is_text(data, "utf-8" if path.endswith(".jsonl") else encoding):
                found.no_text.append(path)
            else:
                found.documents.extend(_documents(path, data, encoding))
        if files == found.no_text[-len(files) :]:
            raise ValueError(f"{given} is a folder without text files")
    return found


def read_lines(path: str, stdin: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The lines of a JSONL file, or of standard input for "-", that are not blank, one at a time."""
    file = stdin if path == "-" else open(path, "rb")  # noqa: SIM115
    try:
        yield from _filled_lines(file, name_of_path(path))
    finally:
        if path != "-":
            file.close()


def _filled_lines(file: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    for number, line in bounded_lines(file, name):
        if line.strip():
            yield f"{name}:{number}", line.rstrip(b"\r")


def name_of_path(path: str) -> str:
    """How errors call it."""
    return "standard input" if path == "-" else path


def _read(path: str, stdin: BinaryIO) -> bytes:
    if path == "-":
        return read_bounded(stdin, MAX_BYTES, name_of_path(path))
    with open(path, "rb") as file:
        return read_bounded(file, MAX_BYTES, path)


def _documents(path: str, data: bytes, encoding: str) -> list[Document]:
    if path.endswith(".jsonl"):
        lines = _filled_lines(io.BytesIO(data), path)
        documents = [document_from_json(place, parse_line(place, line)) for place, line in lines]
        if not documents:
            raise ValueError(f"{path} holds no documents")
        return documents
    return [Document(decode(name_of_path(path), data, encoding), id=path, format=format_of_suffix(path))]


def parse_line(place: str, line: bytes) -> dict[str, object]:
    """The object in a line of JSON; of equal keys the last counts."""
    return {**parse_object(line, place, unique_keys=False)}


def document_from_json(place: str, held: object) -> Document:
    """A document from an object with a text, and perhaps an id, a title and a format."""
    if not isinstance(held, dict):
        raise ValueError(f"{place} wants an object with a text, got {type(held).__name__}")
    if not any(name in held for name in TEXTS):
        raise ValueError(f"{place}: text wants a string, got only {', '.join(map(ascii, held)) or 'no fields'}")
    return document_from_fields(place, held)


def _files(given: str) -> list[str]:
    """The files that a path stands for."""
    folder = Path(given)
    if given == "-" or not folder.is_dir():
        return [given]
    shown = sorted(path for path in _walk(folder) if path.is_file())
    if not shown:
        raise ValueError(f"{given} is a folder without files")
    return [str(path) for path in shown]


def _walk(folder: Path) -> Iterator[Path]:
    """All that is in `folder` and in the folders below it, links to folders too, each folder once."""
    seen = set()
    for place, names, files in os.walk(folder, followlinks=True):
        stat = os.stat(place)
        names[:] = sorted(name for name in names if not name.startswith("."))
        # a link may lead to where it stands
        if (stat.st_dev, stat.st_ino) in seen:
            names.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        yield from (Path(place) / name for name in files if not name.startswith("."))
