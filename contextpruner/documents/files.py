"""Documents from files, folders and standard input, and results to files that are whole or absent.

A file that ends in .jsonl holds one object a line, {"id", "title", "text", "format"}, of which only the text is
needed; any other file is one document whose id is the path as it was given, in the format that its suffix names
(`format_detection`). A folder stands for its files, and those of the folders in it, in the order of their paths;
hidden ones are left out, and so are those that are no UTF-8 text. "-" is standard input, read as one text.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

from contextpruner.documents.document import Document, document_from_fields
from contextpruner.documents.format_detection import format_of_suffix

# where each line stands, and the line
Lines = Iterable[tuple[str, bytes]]


class ReadFiles(NamedTuple):
    """The documents of files, and the files in folders that were passed over as they are no text."""

    documents: list[Document]
    no_text: list[str]


def read_files(paths: Sequence[str], stdin: BinaryIO) -> ReadFiles:
    """All documents of `paths` in order; raises ValueError naming file, line and field."""
    if list(paths).count("-") > 1:
        raise ValueError('standard input can be read only once, got "-" twice')
    found = ReadFiles([], [])
    for given in paths:
        files = _files(given)
        for path in files:
            data = stdin.read() if path == "-" else Path(path).read_bytes()
            if path != given and not _is_text(data):
                found.no_text.append(path)
            else:
                found.documents.extend(_documents(path, data))
        if files == found.no_text[-len(files) :]:
            raise ValueError(f"{given} is a folder without text files")
    return found


def read_lines(path: str, stdin: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The lines of a JSONL file, or of standard input for "-", that are not blank, one at a time."""
    name = "standard input" if path == "-" else path
    file = stdin if path == "-" else open(path, "rb")  # noqa: SIM115
    try:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{name}:{number}", line.rstrip(b"\r\n")
    finally:
        if path != "-":
            file.close()


def replace_text(path: Path, text: str) -> None:
    """Write `text` under a temporary name beside `path`, then rename it."""
    with replacing_text(path) as file:
        file.write(text)


@contextmanager
def replacing_text(path: Path) -> Iterator[TextIO]:
    """A file under a temporary name beside `path`, renamed when the block ends well and removed when not.

    A link stays a link to what is then written. What is no file, say /dev/stdout, is written as it goes.
    """
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        with open(path, "w", encoding="utf-8", newline="") as file:
            yield file
        return
    path = path.resolve()
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        # mkstemp makes files for the owner's eyes only
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\x00" not in data


def _documents(path: str, data: bytes) -> list[Document]:
    name = "standard input" if path == "-" else path
    if path.endswith(".jsonl"):
        lines = enumerate(data.split(b"\n"), 1)
        places = ((f"{path}:{number}", line) for number, line in lines if line.strip())
        documents = [document_from_json(place, parse_line(place, line)) for place, line in places]
        if not documents:
            raise ValueError(f"{path} holds no documents")
        return documents
    return [Document(_decode(name, data), id=path, format=format_of_suffix(path))]


def _decode(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = ", but UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise ValueError(f"{name} is not UTF-8{hint}: byte {error.start} is 0x{data[error.start]:02x}") from None


def parse_line(place: str, line: bytes) -> dict[str, object]:
    """The object in a line of JSON, whose numbers are numbers."""
    text = _decode(place, line)
    try:
        held = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place} is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError(f"{place} is not JSON that can be read: too many brackets in brackets") from None
    except ValueError as error:
        raise ValueError(f"{place} is not JSON that can be read: {error}") from None
    if not isinstance(held, dict):
        raise ValueError(f"{place} wants an object, got {type(held).__name__}")
    return held


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def document_from_json(place: str, held: object) -> Document:
    """A document from an object with a text, and perhaps an id, a title and a format."""
    if not isinstance(held, dict):
        raise ValueError(f"{place} wants an object with a text, got {type(held).__name__}")
    if "text" not in held:
        raise ValueError(f"{place}: text wants a string, got only {', '.join(map(str, held)) or 'no fields'}")
    return document_from_fields(place, held)


def _files(given: str) -> list[str]:
    """The files that a path stands for."""
    folder = Path(given)
    if given == "-" or not folder.is_dir():
        return [given]
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    shown = [path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not shown:
        raise ValueError(f"{given} is a folder without files")
    return [str(path) for path in shown]
