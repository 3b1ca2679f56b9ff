"""Streams from elsewhere, whose decoded size nobody knows: bounded by what is read and not by what the file has.

A few kilobytes of gzip stand for gigabytes, and a line may have no end. What is read here never takes more memory
than its bound and one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

# a row of a corpus, a document of an index: what is longer is no line that anybody wrote
MAX_LINE = 64 << 20
BLOCK = 1 << 20


class Readable(Protocol):
    """A binary stream, decompressed or not."""

    def read(self, size: int, /) -> bytes: ...


def bounded_lines(stream: Readable, place: str, max_line: int = MAX_LINE) -> Iterator[tuple[int, bytes]]:
    """The lines of `stream` with their numbers from 1, without their line feeds.

    Raises ValueError, as in "corpus.jsonl.gz:3: ...", for a line of more than `max_line` bytes before it is held.
    """
    number, held = 1, bytearray()
    while block := stream.read(BLOCK):
        *whole, rest = block.split(b"\n")
        for line in whole:
            check_line(len(held) + len(line), f"{place}:{number}", max_line)
            yield number, bytes(held) + line
            held.clear()
            number += 1
        check_line(len(held) + len(rest), f"{place}:{number}", max_line)
        held += rest
    if held:
        yield number, bytes(held)


def check_line(size: int, place: str, max_line: int = MAX_LINE) -> None:
    """Raise ValueError, beginning with `place`, for a line of `size` bytes or more that is too long."""
    if size > max_line:
        raise ValueError(f"{place}: want lines of at most {max_line:,} bytes, got a longer one")


def read_bounded(stream: Readable, max_bytes: int, place: str) -> bytes:
    """All of `stream`, which may have no end; raises ValueError for more than `max_bytes`."""
    held = bytearray()
    while block := stream.read(min(BLOCK, max_bytes + 1 - len(held))):
        held += block
        if len(held) > max_bytes:
            raise ValueError(f"{place}: want at most {max_bytes:,} bytes, got more")
    return bytes(held)
