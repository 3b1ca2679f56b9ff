"""A second corpus: read in chunks in every form, known by its content, and named in its errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from datapruner import Source, score
from datapruner.corpus.second_corpus import SecondCorpus
from datapruner.scoring.second_vectors import SecondVectors
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.corpus_forms import given, rows_of

ROWS = [{"text": "one", "question": "q1"}, {"text": "two", "question": "q2"}, {"text": "one", "question": "q3"}]


def second(path: Path, text: str = "text") -> SecondCorpus:
    return SecondCorpus(str(path), "contamination.against", text)


def test_texts_and_uids_by_hand(tmp_path: Path) -> None:
    corpus = second(write_jsonl(tmp_path / "old.jsonl", ROWS))
    assert [*corpus.texts()] == [["one", "two", "one"]]
    assert [*second(tmp_path / "old.jsonl", "question").texts()] == [["q1", "q2", "q3"]]
    (chunk,) = corpus.chunks()
    assert [uid.partition("-")[2] for uid in chunk.uids] == ["0", "0", "1"]
    assert chunk.uids[0][:16] == chunk.uids[2][:16] != chunk.uids[1][:16]


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "folder", "parquet", "memory"])
def test_is_read_in_every_form(form: str, tmp_path: Path) -> None:
    corpus = SecondCorpus(str(given(form, tmp_path)), "x.y", vectors=("vector",))
    corpus.check()
    assert [text for texts in corpus.texts() for text in texts] == [row["text"] for row in rows_of()]
    found = np.concatenate([corpus.vectors_of(chunk, "vector") for chunk in corpus.chunks()])
    np.testing.assert_array_equal(found, np.array([row["vector"] for row in rows_of()], dtype=np.float32))


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    names = ("a.jsonl", "other.jsonl")
    first, renamed = (second(write_jsonl(tmp_path / name, ROWS)).fingerprint() for name in names)
    assert first == renamed
    assert second(write_jsonl(tmp_path / "a.jsonl", [*ROWS, {"text": "three"}])).fingerprint() != first
    folder = tmp_path / "sets"
    folder.mkdir()
    write_jsonl(folder / "b.jsonl", ROWS[1:])
    write_jsonl(folder / "a.jsonl", ROWS[:1])
    both = second(folder)
    # the same bytes cut into two files are two parts
    assert both.fingerprint() != first
    assert both.file_names() == ["a.jsonl", "b.jsonl"]
    assert [(chunk.file, chunk.texts) for chunk in both.chunks()] == [(0, ["one"]), (1, ["two", "one"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "want at least one row"),
        ('{"other": 1}\n', r"old\.jsonl.*'text'"),
        ('{"text": null}\n', "want a string in field 'text', got null"),
        ("{", "old.jsonl"),
    ],
)
def test_errors_name_the_second_corpus(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text(content)
    with pytest.raises(ValueError, match=rf"^contamination\.against: .*{message}"):
        second(tmp_path / "old.jsonl").check()


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    for corpus in (second(tmp_path / "missing.jsonl"), SecondCorpus("", "contamination.against")):
        for ask in (corpus.check, corpus.fingerprint, corpus.file_names):
            with pytest.raises(ValueError, match=r"^contamination\.against: (.*no such file|want the path)"):
                ask()


def test_refuses_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "old.jsonl", ROWS)
    chunks = second(path).chunks()
    next(chunks)
    path.write_text(json.dumps({"text": "more"}) + "\n")
    with pytest.raises(ValueError, match=r"^contamination\.against: .*changed while"):
        next(chunks)


def test_vectors_of_a_score_table_and_of_a_field(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "old.jsonl", rows_of())
    table = score(Source(path, chunk_rows=40), "words=hashed_ngrams:dims=8", tmp_path / "t")
    column = SecondVectors(str(tmp_path / "t"), "x.against", "words")
    blocks = [*column.blocks()]
    assert [len(vectors) for _, vectors in blocks] == [40, 40, 23]
    assert [uid for uids, _ in blocks for uid in uids] == table.read("rows", "uid").to_pylist()
    np.testing.assert_array_equal(blocks[1][1], table.vectors("words", 1))
    by_field = SecondVectors(str(path), "x.against", "vector", "text")
    (block,) = by_field.blocks()
    assert block[0] == table.read("rows", "uid").to_pylist()
    other = score(Source(path, chunk_rows=40), "words=hashed_ngrams:dims=4", tmp_path / "t4")
    # it hangs on how the vectors were made, not on the table's place or chunks
    again = score(Source(path, chunk_rows=7), "words=hashed_ngrams:dims=8", tmp_path / "again")
    prints = [SecondVectors(str(made.path), "x", "words").fingerprint() for made in (table, again, other)]
    assert prints[0] == prints[1] != prints[2]
    with pytest.raises(ValueError, match=r"^x\.against: .*no finished vector column 'embedding'; finished: words"):
        SecondVectors(str(tmp_path / "t"), "x.against", "embedding").check()
    with pytest.raises(ValueError, match=r"^x\.against: .*'embedding'"):
        SecondVectors(str(path), "x.against", "embedding", "text").check()
