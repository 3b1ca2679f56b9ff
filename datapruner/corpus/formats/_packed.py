"""Compressed files: read in blocks and written, by the ending of their names."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from datapruner.corpus.remote_files import AnyFile, open_file
from prunekernels.extras import require

BLOCK = 1 << 20
CODECS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz"}


class BrokenDataError(ValueError):
    """Compressed data breaks off or is no such data."""


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes) -> object: ...

    def close(self) -> None: ...


def codec_of(name: str) -> str | None:
    """The compression that the end of a file's name says."""
    return next((codec for suffix, codec in CODECS.items() if name.lower().endswith(suffix)), None)


def packed(*endings: str) -> tuple[str, ...]:
    """`endings`, plain and with that of each compression."""
    return tuple(ending + suffix for ending in endings for suffix in ("", *CODECS))


def unpacked(opened: BinaryIO, codec: str) -> BinaryIO:
    """The bytes that `opened` holds compressed."""
    if codec == "xz":
        return cast(BinaryIO, lzma.open(opened))
    return cast(BinaryIO, require("pyarrow", "data").CompressedInputStream(opened, codec))


def blocks(file: AnyFile, offset: int = 0, skip: bool = False) -> Iterator[bytes]:
    """Decompressed blocks from byte `offset` on; raises BrokenDataError where compressed data is broken.

    With `skip` all that can be read before it comes first.
    """
    codec, done = codec_of(file.name), 0
    with closing(open_file(file)) as opened:
        if codec is None:
            opened.seek(offset)
            while block := opened.read(BLOCK):
                yield block
            return
        stream = unpacked(opened, codec)
        try:
            while block := _read(stream, BLOCK, codec):
                if done + len(block) > offset:
                    yield block[max(0, offset - done) :]
                done += len(block)
        except BrokenDataError:
            if skip:
                yield _last_bytes(file, codec, done)[max(0, offset - done) :]
            raise


def _last_bytes(file: AnyFile, codec: str, offset: int) -> bytes:
    """What can be read behind `offset`: less than a block, which a reader of blocks gives up as a whole."""
    found = bytearray()
    with closing(open_file(file)) as opened:
        stream = unpacked(opened, codec)
        try:
            while offset:
                offset -= len(_read(stream, min(BLOCK, offset), codec))
            while byte := _read(stream, 1, codec):
                found += byte
        except BrokenDataError:
            pass
    return bytes(found)


def _read(stream: BinaryIO, size: int, codec: str) -> bytes:
    try:
        return stream.read(size)
    except (OSError, EOFError, lzma.LZMAError) as error:
        # an error of the machine has a number, one of the data has not
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BrokenDataError(f"broken {codec} data: {error}") from error


class PackedWriter:
    """A new file, compressed as its name says; the same bytes make the same file."""

    def __init__(self, path: Path) -> None:
        codec = codec_of(path.name)
        self.file = open(path, "wb")  # noqa: SIM115
        self.stream: Sink = self.file
        if codec == "xz":
            self.stream = lzma.open(self.file, "wb")  # noqa: SIM115
        elif codec is not None:
            self.stream = require("pyarrow", "data").CompressedOutputStream(self.file, codec)

    def write(self, data: bytes) -> None:
        self.stream.write(data)

    def close(self) -> None:
        try:
            self.stream.close()
        finally:
            self.file.close()
