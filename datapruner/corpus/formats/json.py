"""JSON files: an array of objects, objects one after another, or lines, as many programs call them by this ending.

They are read object by object, never whole, and written as JSON lines, each object as it stood but for line breaks
between its parts.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence

import numpy as np

from datapruner.corpus.format import START, Begin, ReadOptions
from datapruner.corpus.formats import jsonl
from datapruner.corpus.formats._lines import LONGEST_LINE, Lines
from datapruner.corpus.formats._packed import BrokenDataError, blocks, codec_of, packed
from datapruner.corpus.formats.jsonl import JsonlRows
from datapruner.corpus.remote_files import AnyFile

SUFFIXES = packed(".json")
WRITTEN_AS = {".json": ".jsonl"}
Writer = jsonl.Writer

# a string, which may not be at its end yet, or what opens and closes
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)|[{}\[\]]', re.DOTALL)
# what may stand between objects
_BETWEEN = b" \t\r\n,[]"


def read(
    path: AnyFile, options: ReadOptions, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[JsonlRows]:
    """The rows of `path` from `begin` on."""
    head = next(blocks(path), b"").removeprefix(BOM_UTF8).lstrip()
    if _is_object(head.partition(b"\n")[0]):
        return jsonl.read(path, options, columns, begin)
    longest = max(options.bytes, LONGEST_LINE)
    found = _read_objects(path, begin, longest, options.skip, ends_with=b"]" if head.startswith(b"[") else b"")
    return jsonl.rows_of(path, found, options, begin, "object")


def is_sequential(path: AnyFile) -> bool:
    """Whether `path` has to be read from its start."""
    return codec_of(path.name) is not None


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _read_objects(file: AnyFile, begin: Begin, longest: int, skip: bool, ends_with: bytes) -> Iterator[Lines]:
    scanner = _Scanner(file, begin)
    reason = "the file breaks off"
    try:
        for block in blocks(file, begin.offset, skip):
            found = scanner.feed(block)
            if len(scanner.data) > longest:
                wanted = f"want at most {longest:,} bytes, got more; a larger chunk_bytes takes them"
                raise ValueError(f"{scanner.place()}: {wanted}")
            if len(found):
                yield found
    except BrokenDataError as error:
        if not skip:
            raise ValueError(f"{scanner.place()}: {error}") from error
        reason = str(error)
    else:
        rest = scanner.data.strip()
        if not scanner.depth and not rest.strip(_BETWEEN) and rest.endswith(ends_with):
            return
        if not skip:
            raise ValueError(f"{scanner.place()}: want a JSON object: {reason}")
    end = np.array([scanner.offset + len(scanner.data)])
    yield Lines([_in_one_line(scanner.data)], np.array([scanner.number]), end, {0: reason})


class _Scanner:
    """Finds objects in blocks of bytes: their ends are where all that they open is closed, strings left out."""

    def __init__(self, file: AnyFile, begin: Begin) -> None:
        self.file, self.number = file, begin.number
        # what was not taken yet, where it begins in the file, and how far into it was looked
        self.data, self.offset, self.at = b"", begin.offset, 0
        self.depth = 0

    def place(self) -> str:
        return f"{self.file}, object {self.number}"

    def feed(self, block: bytes) -> Lines:
        """The objects that end in `block`."""
        self.data += block
        start, first = 0, self.number
        lines: list[bytes] = []
        ends: list[int] = []
        for token in _TOKEN.finditer(self.data, self.at):
            if token[0][:1] == b'"':
                if not token[1]:
                    self.at = token.start()
                    break
            elif self.depth:
                self.depth += 1 if token[0] in b"{[" else -1
                if not self.depth:
                    lines.append(_in_one_line(self.data[start : token.end()]))
                    start = token.end()
                    ends.append(self.offset + start)
                    self.number += 1
            elif token[0] == b"{":
                self._check_between(self.data[start : token.start()])
                start, self.depth = token.start(), 1
        else:
            self.at = len(self.data)
        self.data, self.offset, self.at = self.data[start:], self.offset + start, self.at - start
        return Lines(lines, np.arange(first, self.number), np.array(ends, dtype=np.int64))

    def _check_between(self, between: bytes) -> None:
        other = between.removeprefix(BOM_UTF8).strip(_BETWEEN)
        if other:
            raise ValueError(f"{self.place()}: want a JSON object, got {other.decode(errors='replace')!r:.80}")


def _in_one_line(data: bytes) -> bytes:
    # JSON has raw line breaks between its parts only
    return data.replace(b"\n", b" ").replace(b"\r", b" ").strip()
