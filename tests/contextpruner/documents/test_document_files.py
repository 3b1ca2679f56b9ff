"""Files in, files out: every fault named with file, line and field, and nothing half-written."""

import io
from pathlib import Path

import pytest

from contextpruner import Document
from contextpruner.documents import files
from contextpruner.documents.files import read_files, read_lines


def test_text_jsonl_and_standard_input_in_order(tmp_path: Path) -> None:
    text, lines = tmp_path / "a.md", tmp_path / "b.jsonl"
    text.write_bytes("\ufeffÜber\r\n".encode())
    lines.write_bytes('{"id": 1, "text": "a\u2028b"}\n\n{"title": "T", "text": "", "x": 2}\r\n'.encode())
    got = read_files([str(text), "-", str(lines)], io.BytesIO(b"in"))
    assert got.documents == [
        Document("Über\r\n", str(text), format="markdown"),
        Document("in", "-"),
        Document("a\u2028b", 1),
        Document("", None, "T", metadata={"x": 2}),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", r"x.jsonl:2 is not JSON: .* at column 2"),
        (b"[]", r"x.jsonl:2 wants an object, got list"),
        (b'{"id": 1}', r"x.jsonl:2: text wants a string, got only 'id'"),
        (b'{"text": null}', r"x.jsonl:2: text wants a string, got NoneType"),
        (b'{"text": "a", "title": 1}', r"x.jsonl:2: title wants a string, got int"),
        (b'{"text": "a", "id": [1]}', r"x.jsonl:2: id wants a string or an integer, got list"),
        (b'{"text": NaN}', r"x.jsonl:2 is not JSON that can be read: NaN is no number of JSON"),
        (b'{"text": "a", "id": -Infinity}', r"x.jsonl:2 is not JSON that can be read: -Infinity is no number"),
        (b"[" * 100_000, r"x.jsonl:2 is not JSON that can be read: too many brackets in brackets"),
        (b'{"id": ' + b"9" * 5000 + b"}", r"x.jsonl:2 is not JSON that can be read: .* 5000 digits"),
        ("{}".encode("utf-16"), r"x.jsonl:2 is not UTF-8, but UTF-16: byte 0 is 0xff"),
        (b'{"text": "\xff"}', r"x.jsonl:2 is not UTF-8: byte 10 is 0xff"),
        (b'{"text": "a", "n": 1e999}', r"x.jsonl:2 is not JSON that can be read: the number 1e999 is too large"),
        (b'{"\\u001b[2J": 1}', r"x.jsonl:2: text wants a string, got only '\\x1b\[2J'"),
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


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("A.")
    (tmp_path / "elsewhere" / "b.txt").write_text("B.")
    (tmp_path / "docs" / "linked").symlink_to("../elsewhere")
    (tmp_path / "docs" / "round").symlink_to(".")
    got = read_files([str(tmp_path / "docs")], io.BytesIO())
    assert [document.text for document in got.documents] == ["A.", "B."]


GREEK = "Η Φλωρεντία έχει έναν ψηλό τρούλο και πολλές γέφυρες πάνω από τον ποταμό. " * 5


@pytest.mark.parametrize(
    ("written", "encoding", "text"),
    [
        ("iso8859-7", "iso8859-7", GREEK),
        ("utf-16", "utf-16", GREEK),
        ("utf-16", "auto", GREEK),
        ("iso8859-7", "auto", GREEK),
        ("latin-1", "latin-1", "Über die Brücke führt der Weg."),
        ("utf-8", "auto", GREEK),
        ("utf-8-sig", "utf-8", GREEK),
    ],
)
def test_texts_in_other_encodings(written: str, encoding: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_bytes(text.encode(written))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)))
    got = read_files([str(tmp_path)], io.BytesIO(), encoding)
    assert [document.text for document in got.documents] == [text]
    assert got.no_text == [str(tmp_path / "picture.png")]
    assert read_files(["-"], io.BytesIO(text.encode(written)), encoding).documents[0].text == text


def test_an_encoding_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A.")
    for encoding in ("latin-77", "rot13"):
        with pytest.raises(ValueError, match=f'want the name of an encoding, say latin-1, or "auto", got \'{encoding}'):
            read_files([str(tmp_path / "a.txt")], io.BytesIO(), encoding)


def test_a_line_and_a_text_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    with pytest.raises(ValueError, match=r"/dev/zero: want at most 1,048,576 bytes, got more"):
        read_files(["/dev/zero"], io.BytesIO())
    with open("/dev/zero", "rb") as endless, pytest.raises(ValueError, match="standard input:1: want lines of at most"):
        next(read_lines("-", endless))
