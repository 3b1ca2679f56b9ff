"""What is read of a stream is bounded, however little of it there is on disk."""

import gzip
import io
import tracemalloc
from pathlib import Path

import pytest

from prunekernels.io import streams
from prunekernels.io.streams import bounded_lines, read_bounded


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", [(1, b"a")]),
        (b"a\n", [(1, b"a")]),
        (b"a\n\nb\r\nc", [(1, b"a"), (2, b""), (3, b"b\r"), (4, b"c")]),
        (b"\n", [(1, b"")]),
        (b"x" * 10, [(1, b"x" * 10)]),
    ],
)
@pytest.mark.parametrize("block", [1, 2, 3, 1 << 20])
def test_lines(data: bytes, lines: list, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK", block)
    assert [*bounded_lines(io.BytesIO(data), "f", 10)] == lines


@pytest.mark.parametrize("block", [1, 4, 1 << 20])
@pytest.mark.parametrize("end", [b"", b"\n", b"\nb\n"])
def test_a_long_line_is_told_by_its_number(block: int, end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK", block)
    with pytest.raises(ValueError, match="^f:2: want lines of at most 10 bytes, got a longer one"):
        [*bounded_lines(io.BytesIO(b"a\n" + b"x" * 11 + end), "f", 10)]


def test_a_line_of_gigabytes_in_a_small_file_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    with gzip.open(path) as file, pytest.raises(ValueError, match="f:1: want lines"):
        [*bounded_lines(file, "f", 4 << 20)]
    with gzip.open(path) as file, pytest.raises(ValueError, match="f: want at most 4,194,304 bytes, got more"):
        read_bounded(file, 4 << 20, "f")
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_stream_is_read_whole_up_to_its_bound() -> None:
    assert read_bounded(io.BytesIO(b"x" * 10), 10, "f") == b"x" * 10
    with pytest.raises(ValueError, match="got more"):
        read_bounded(io.BytesIO(b"x" * 11), 10, "f")
    with open("/dev/zero", "rb") as endless, pytest.raises(ValueError, match="got more"):
        read_bounded(endless, 10, "f")
