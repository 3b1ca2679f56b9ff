"""Text files: a row is a line that is not blank, or the whole file (`Source.text_rows`).

A row has the field `text`, and that of a file also `file`, its name. Rows are written as JSON lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from datapruner.corpus.format import START, Begin, ReadOptions
from datapruner.corpus.formats import jsonl
from datapruner.corpus.formats._lines import LONGEST_LINE, Lines, read_lines
from datapruner.corpus.formats._packed import BrokenDataError, blocks, codec_of, packed
from datapruner.corpus.formats.jsonl import JsonlRows
from datapruner.corpus.remote_files import AnyFile

SUFFIXES = packed(".txt")
WRITTEN_AS = {".txt": ".jsonl"}
Writer = jsonl.Writer


def read(
    path: AnyFile, options: ReadOptions, columns: Sequence[str] | None = None, begin: Begin = START
) -> Iterator[JsonlRows]:
    """The rows of `path` from `begin` on."""
    longest = max(options.bytes, LONGEST_LINE)
    if options.text_rows == "file":
        found = _whole_file(path, longest, options.skip)
    else:
        lines = read_lines(path, begin, longest, options.skip)
        found = (_as_json(path, some, options.skip) for some in lines)
    return jsonl.rows_of(path, found, options, begin)


def is_sequential(path: AnyFile) -> bool:
    """Whether `path` has to be read from its start."""
    return codec_of(path.name) is not None


def _as_json(path: AnyFile, lines: Lines, skip: bool) -> Lines:
    broken, rows = dict(lines.broken), []
    for index, line in enumerate(lines.lines):
        try:
            text = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            reason = f"want UTF-8, got byte {error.object[error.start]:#04x}"
            if not skip:
                raise ValueError(f"{path}, line {lines.numbers[index]}: {reason}") from error
            broken.setdefault(index, reason)
            text = line.decode(errors="replace")
        rows.append(json.dumps({"text": text}, ensure_ascii=False).encode())
    return replace(lines, lines=rows, broken=broken)


def _whole_file(path: AnyFile, longest: int, skip: bool) -> Iterator[Lines]:
    """The file as one row; raises ValueError where it has more than `longest` bytes."""
    parts, size, broken = [], 0, {}
    try:
        for block in blocks(path, skip=skip):
            parts.append(block)
            size += len(block)
            if size > longest:
                wanted = f"want at most {longest:,} bytes, got more; a larger chunk_bytes takes them"
                raise ValueError(f"{path}: {wanted}")
    except BrokenDataError as error:
        if not skip:
            raise ValueError(f"{path}: {error}") from error
        broken[0] = str(error)
    content = b"".join(parts)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"want UTF-8, got byte {error.object[error.start]:#04x} after {error.start} others"
        if not skip:
            raise ValueError(f"{path}: {reason}") from error
        broken[0], text = reason, content.decode(errors="replace")
    row = json.dumps({"text": text, "file": path.name}, ensure_ascii=False).encode()
    yield Lines([row], np.array([1]), np.array([max(size, 1)]), broken)
