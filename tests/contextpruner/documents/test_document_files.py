"""Files in, files out: every fault named with file, line and field, and nothing half-written."""

import io
import os
from pathlib import Path

import pytest

from contextpruner import Document
from contextpruner.documents.files import read_files, replace_text


def test_text_jsonl_and_standard_input_in_order(tmp_path: Path) -> None:
    text, lines = tmp_path / "a.md", tmp_path / "b.jsonl"
    text.write_bytes("\ufeffÜber\r\n".encode())
    lines.write_bytes('{"id": 1, "text": "a\u2028b"}\n\n{"title": "T", "text": "", "x": 2}\r\n'.encode())
    got = read_files([str(text), "-", str(lines)], io.BytesIO(b"in"))
    assert got.documents == [
        Document("Über\r\n", str(text), format="markdown"),
        Document("in", "-"),
        Document("a\u2028b", 1),
        Document("", None, "T"),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", r"x.jsonl:2 is not JSON: .* at column 2"),
        (b"[]", r"x.jsonl:2 wants an object, got list"),
        (b'{"id": 1}', r"x.jsonl:2: text wants a string, got only id"),
        (b'{"text": null}', r"x.jsonl:2: text wants a string, got NoneType"),
        (b'{"text": "a", "title": 1}', r"x.jsonl:2: title wants a string, got int"),
        (b'{"text": "a", "id": [1]}', r"x.jsonl:2: id wants a string or an integer, got list"),
        (b'{"text": NaN}', r"x.jsonl:2 is not JSON that can be read: NaN is no number of JSON"),
        (b'{"text": "a", "id": -Infinity}', r"x.jsonl:2 is not JSON that can be read: -Infinity is no number"),
        (b"[" * 100_000, r"x.jsonl:2 is not JSON that can be read: too many brackets in brackets"),
        (b'{"id": ' + b"9" * 5000 + b"}", r"x.jsonl:2 is not JSON that can be read: .* 5000 digits"),
        ("{}".encode("utf-16"), r"x.jsonl:2 is not UTF-8, but UTF-16: byte 0 is 0xff"),
        (b'{"text": "\xff"}', r"x.jsonl:2 is not UTF-8: byte 10 is 0xff"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "a"}\n' + line + b"\n")
    with pytest.raises(ValueError, match=said):
        read_files([str(path)], io.BytesIO())


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"ab\xff")
    (tmp_path / "e.jsonl").write_bytes(b"\n")
    with pytest.raises(ValueError, match=r"x.txt is not UTF-8: byte 2 is 0xff"):
        read_files([str(tmp_path / "x.txt")], io.BytesIO())
    with pytest.raises(ValueError, match=r"e.jsonl holds no documents"):
        read_files([str(tmp_path / "e.jsonl")], io.BytesIO())
    with pytest.raises(ValueError, match="only once"):
        read_files(["-", "-"], io.BytesIO())


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.txt"
    replace_text(path, "one\r\n")
    assert path.read_bytes() == b"one\r\n"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        replace_text(path, "two")
    assert path.read_bytes() == b"one\r\n"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="there is no folder"):
        replace_text(tmp_path / "none" / "out.txt", "x")


def test_what_is_written_to_is_left_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real.txt")
    replace_text(tmp_path / "link", "one")
    replace_text(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "two"
    # a pipe stands for /dev/stdout and /dev/null, which root could replace by a file
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    replace_text(tmp_path / "pipe", "three")
    assert os.read(reader, 99) == b"three"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(ValueError, match=r"cannot write .*: it is a folder"):
        replace_text(tmp_path, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "real.txt"]


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
