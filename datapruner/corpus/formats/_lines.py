"""Lines of a file, plain or compressed: read in blocks, with the place of every line."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from datapruner.corpus.format import Begin
from datapruner.corpus.formats._packed import BrokenDataError, blocks
from datapruner.corpus.remote_files import AnyFile

# of a line, where chunks are smaller than it
LONGEST_LINE = 64 << 20
LINE_FEED, SPACE = 10, 32


@dataclass(frozen=True)
class Lines:
    """Lines that are not blank, without their line feeds: their numbers from 1, and the byte behind each of them.

    `broken` says which of them are no rows, and why.
    """

    lines: list[bytes]
    numbers: np.ndarray
    ends: np.ndarray
    broken: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def __add__(self, more: Lines) -> Lines:
        numbers, ends = np.append(self.numbers, more.numbers), np.append(self.ends, more.ends)
        broken = {**self.broken, **{len(self) + index: reason for index, reason in more.broken.items()}}
        return Lines(self.lines + more.lines, numbers, ends, broken)

    def split(self, n: int) -> tuple[Lines, Lines]:
        """The first `n` lines and the others."""
        first = {index: reason for index, reason in self.broken.items() if index < n}
        others = {index - n: reason for index, reason in self.broken.items() if index >= n}
        return (
            Lines(self.lines[:n], self.numbers[:n], self.ends[:n], first),
            Lines(self.lines[n:], self.numbers[n:], self.ends[n:], others),
        )


NO_LINES = Lines([], np.empty(0, np.int64), np.empty(0, np.int64))


def read_lines(file: AnyFile, begin: Begin, longest: int = LONGEST_LINE, skip: bool = False) -> Iterator[Lines]:
    """All lines from `begin` on, as many at a time as a block holds, without byte order marks before them.

    Files that were joined have such a mark amid them. Raises ValueError for a line of more than `longest` bytes before
    it is read to its end, and for broken data; with `skip` what is left of such data is the last line.
    """
    number, offset = begin.number, begin.offset
    parts: list[bytes] = []
    broken = None
    try:
        for block in blocks(file, offset, skip):
            end = block.rfind(b"\n") + 1
            if not end:
                parts.append(block)
                if sum(map(len, parts)) > longest:
                    wanted = f"want at most {longest:,} bytes, got more; a larger chunk_bytes takes them"
                    raise ValueError(f"{file}, line {number}: {wanted}")
                continue
            whole, rest = b"".join([*parts, block[:end]]), block[end:]
            found, n_lines = _split(whole, number, offset)
            number, offset = number + n_lines, offset + len(whole)
            parts = [rest] if rest else []
            yield found
    except BrokenDataError as error:
        if not skip:
            raise ValueError(f"{file}, after line {number - 1}: {error}") from error
        broken = str(error)
    rest = b"".join(parts)
    if broken is not None:
        yield Lines([rest], np.array([number]), np.array([offset + len(rest)]), {0: broken})
    elif rest:
        yield _split(rest, number, offset)[0]


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
    if BOM_UTF8 in data:
        lines = [line.removeprefix(BOM_UTF8) for line in lines]
        filled = np.array([bool(line.strip()) for line in lines])
    for index in np.flatnonzero(~filled).tolist():
        filled[index] = bool(lines[index].strip())
    if filled.all():
        return Lines(lines, numbers, offset + ends), len(lines)
    kept = [line for line, has in zip(lines, filled.tolist(), strict=True) if has]
    return Lines(kept, numbers[filled], offset + ends[filled]), len(lines)
