"""Lines of a file, plain or compressed: read in blocks, with the place of every line."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from datapruner.corpus.format import Begin
from datapruner.corpus.remote_files import AnyFile, open_file
from prunekernels.extras import require

BLOCK = 1 << 20
# of a line, where chunks are smaller than it
LONGEST_LINE = 64 << 20
LINE_FEED, SPACE = 10, 32
CODECS = {".gz": "gzip", ".zst": "zstd"}


class Sink(Protocol):
    """What lines are written to."""

    def write(self, data: bytes) -> object: ...

    def close(self) -> None: ...


def codec_of(name: str) -> str | None:
    """The compression that the end of a file's name says."""
    return next((codec for suffix, codec in CODECS.items() if name.lower().endswith(suffix)), None)


@dataclass(frozen=True)
class Lines:
    """Lines that are not blank, without their line feeds: their numbers from 1, and the byte behind each of them."""

    lines: list[bytes]
    numbers: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.lines)

    def __add__(self, more: Lines) -> Lines:
        numbers, ends = np.append(self.numbers, more.numbers), np.append(self.ends, more.ends)
        return Lines(self.lines + more.lines, numbers, ends)

    def split(self, n: int) -> tuple[Lines, Lines]:
        """The first `n` lines and the others."""
        return tuple(Lines(self.lines[s], self.numbers[s], self.ends[s]) for s in (slice(n), slice(n, None)))  # type: ignore[return-value]


def read_lines(file: AnyFile, begin: Begin, longest: int = LONGEST_LINE) -> Iterator[Lines]:
    """All lines from `begin` on, as many at a time as a block holds, without a byte order mark before the first.

    Raises ValueError for a line of more than `longest` bytes before it is read to its end.
    """
    number, offset = begin.number, begin.offset
    parts: list[bytes] = []
    for block in _blocks(file, begin):
        if not offset and not parts and block.startswith(BOM_UTF8):
            block, offset = block[len(BOM_UTF8) :], len(BOM_UTF8)
        end = block.rfind(b"\n") + 1
        if not end:
            parts.append(block)
            if sum(map(len, parts)) > longest:
                raise ValueError(
                    f"{file}, line {number}: want at most {longest:,} bytes, got more; a larger chunk_bytes takes them"
                )
            continue
        whole, rest = b"".join([*parts, block[:end]]), block[end:]
        found, n_lines = _split(whole, number, offset)
        number, offset = number + n_lines, offset + len(whole)
        parts = [rest] if rest else []
        yield found
    if parts:
        yield _split(b"".join(parts), number, offset)[0]


def _split(data: bytes, number: int, offset: int) -> tuple[Lines, int]:
    """The lines of `data` that are not blank, and how many there are with the blank ones."""
    lines, letters = data.split(b"\n"), np.frombuffer(data, dtype=np.uint8)
    ends = 1 + np.flatnonzero(letters == LINE_FEED)
    if not lines[-1]:
        lines.pop()
    else:
        ends = np.append(ends, len(data))
    numbers = np.arange(number, number + len(lines))
    starts = np.append(0, ends[:-1])
    # a line that begins with a letter is not blank; the few others are looked at
    filled = letters[starts] > SPACE
    for index in np.flatnonzero(~filled).tolist():
        filled[index] = bool(lines[index].strip())
    if filled.all():
        return Lines(lines, numbers, offset + ends), len(lines)
    kept = [line for line, has in zip(lines, filled.tolist(), strict=True) if has]
    return Lines(kept, numbers[filled], offset + ends[filled]), len(lines)


def _blocks(file: AnyFile, begin: Begin) -> Iterator[bytes]:
    """Decompressed blocks from `begin` on; raises ValueError with the line where compressed data is broken."""
    codec, number, left = codec_of(file.name), 1, begin.offset
    with closing(open_file(file)) as opened:
        if codec is None:
            opened.seek(left)
            while block := opened.read(BLOCK):
                yield block
            return
        stream = require("pyarrow", "data").CompressedInputStream(opened, codec)
        while block := _decompressed(stream, file, number):
            number += block.count(b"\n")
            skipped = min(left, len(block))
            left -= skipped
            if skipped < len(block):
                yield block[skipped:]


def _decompressed(stream: BinaryIO, file: AnyFile, number: int) -> bytes:
    try:
        return stream.read(BLOCK)
    except OSError as error:
        # an error of the machine has a number, one of the data has not
        if error.errno is not None:
            raise
        raise ValueError(f"{file}, after line {number - 1}: broken {codec_of(file.name)} data: {error}") from error


class LineWriter:
    """A new file, compressed as its name says; the same lines make the same bytes."""

    def __init__(self, path: Path) -> None:
        codec = codec_of(path.name)
        self.file = open(path, "wb")  # noqa: SIM115
        self.stream: Sink = self.file
        if codec is not None:
            self.stream = require("pyarrow", "data").CompressedOutputStream(self.file, codec)

    def write(self, data: bytes) -> None:
        self.stream.write(data)

    def close(self) -> None:
        try:
            self.stream.close()
        finally:
            self.file.close()
