"""Vectors, images and token counts of rows, and what is refused of them."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from datapruner import Source, score
from datapruner.corpus.chunks import Chunk
from datapruner.corpus.token_counter import token_counter
from datapruner.corpus.uids import hash64, hash64_bytes
from tests.datapruner.conftest import make_rows, write_jsonl

VECTORS = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)


def _parquet(path: Path, column: pa.Array) -> Source:
    pq.write_table(pa.table({"text": [f"t{i}" for i in range(len(column))], "v": column}), path, row_group_size=4)
    return Source(path, chunk_rows=7)


def _all(source: Source, name: str = "v") -> np.ndarray:
    found = [source.vectors(chunk, name) for chunk in source.raw_chunks(whole=False, more=[name])]
    assert all(part.dtype == np.float32 for part in found)
    return np.concatenate(found)


def test_vectors_of_every_form(tmp_path: Path) -> None:
    lists = VECTORS.tolist()
    for kind in (
        pa.list_(pa.float32()),
        pa.list_(pa.float64(), 4),
        pa.large_list(pa.float32()),
        pa.list_(pa.float16()),
    ):
        column = pa.array(VECTORS.astype(np.float16).tolist() if "half" in str(kind) else lists, kind)
        wanted = VECTORS.astype(np.float16) if "half" in str(kind) else VECTORS
        assert (_all(_parquet(tmp_path / "c.parquet", column)) == wanted).all()
    rows: list[dict[str, object]] = [{"text": "t", "v": vector} for vector in lists]
    assert (_all(Source(write_jsonl(tmp_path / "c.jsonl", rows), chunk_rows=7)) == VECTORS).all()
    whole = np.arange(20).reshape(10, 2)
    for array in (VECTORS, VECTORS.astype(np.float64), np.asfortranarray(VECTORS), VECTORS[::-1][::-1]):
        assert (_all(Source({"text": ["t"] * 10, "v": array}, chunk_rows=7)) == VECTORS).all()
    assert (_all(Source({"text": ["t"] * 10, "v": whole}, chunk_rows=7)) == whole).all()
    made = datasets.Dataset.from_dict({"text": ["t"] * 10, "v": lists})
    assert (_all(Source(made, chunk_rows=7)) == VECTORS).all()


def test_vectors_come_without_a_copy() -> None:
    source = Source({"text": ["t"] * 10, "v": VECTORS}, chunk_rows=7)
    chunk = next(source.raw_chunks())
    assert np.shares_memory(source.vectors(chunk, "v"), VECTORS)


BAD = {
    "ragged": (
        [[1.0, 2.0]] * 8 + [[1.0]],
        "row 9: want a list of numbers in field 'v', all of one length: got 1 and 2",
    ),
    "null": ([[1.0, 2.0]] * 8 + [None], "row 9: want a list of numbers in field 'v', got null"),
    "null inside": ([[1.0, 2.0]] * 8 + [[1.0, None]], "row 9: .* got one that has null"),
    "nan": ([[1.0, 2.0]] * 8 + [[1.0, float("nan")]], "row 9: want finite numbers in field 'v', got nan as number 2"),
    "infinite": ([[1.0, 2.0]] * 8 + [[-float("inf"), 1.0]], "row 9: want finite numbers in field 'v', got -inf as nu"),
    "strings": ([["a", "b"]] * 8, "row 1: .* got one that has str"),
    "numbers": ([1.0] * 8 + [None], "row 9: want a number in field 'v', got null"),
    "too large": ([[1.0, 2.0]] * 8 + [[1e300, 1.0]], "row 9: want finite numbers in field 'v', got inf as number 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses_vectors(case: str, tmp_path: Path) -> None:
    values, message = BAD[case]
    forms = [_parquet(tmp_path / "c.parquet", pa.array(values)), Source({"text": ["t"] * len(values), "v": values})]
    rows: list[dict[str, object]] = [{"text": "t", "v": value} for value in values]  # type: ignore[union-attr]
    forms.append(Source(write_jsonl(tmp_path / "c.jsonl", rows)))
    for source in forms:
        for word in ("row", "line"):
            if ("jsonl" in str(source.path)) == (word == "line"):
                with pytest.raises(ValueError, match=message.replace("row", word)):
                    list(_all(source))
    with pytest.raises(ValueError, match="want a (column|field) 'w'"):
        list(_all(forms[0], "w"))


def _images(folder: Path) -> dict[str, bytes]:
    # bytes that no decoder has to like: nothing here looks into them
    made = {"cat/2.png": b"cat two", "cat/1.jpg": b"same", "dog/1.webp": b"same", "top.JPEG": b"a top"}
    for name, content in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name in ("cat/notes.txt", ".hidden.png", "metadata.jsonl"):
        (folder / name).write_bytes(b"{}")
    (folder / "cat" / "deep").mkdir()
    (folder / "cat" / "deep" / "3.png").write_bytes(b"too deep")
    return made


def _chunks(source: Source) -> list[Chunk]:
    return list(source.identified())


def test_a_folder_of_images_is_a_row_for_each_file(tmp_path: Path) -> None:
    made = _images(tmp_path / "photos")
    source = Source(tmp_path / "photos", label="folder", chunk_rows=3)
    assert (source.has("images"), source.has("texts"), source.has("labels")) == (True, False, True)
    chunks = _chunks(source)
    assert [len(chunk.rows) for chunk in chunks] == [3, 1]
    assert [image for chunk in chunks for image in chunk.images or []] == [made[name] for name in sorted(made)]
    assert [label for chunk in chunks for label in chunk.labels or []] == ["cat", "cat", "dog", ""]
    key = f"{int(hash64_bytes([b'same'])[0]):016x}"
    assert [chunk.uids for chunk in chunks][0][::2] == [f"{key}-0", f"{key}-1"]
    assert chunks[0].rows.location(1) == str(tmp_path / "photos" / "cat" / "2.png")
    named = _chunks(Source(tmp_path / "photos", uid="file"))[0]
    assert named.uids == sorted(made)
    # 4, 7, 4 and 5 bytes
    sized = Source(tmp_path / "photos", chunk_bytes=11)
    assert [len(chunk.rows) for chunk in sized.raw_chunks()] == [2, 2]
    with pytest.raises(ValueError, match="want a column 'caption', got image, file, folder"):
        _chunks(Source(tmp_path / "photos", label="caption"))


def test_images_in_columns(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"one")
    inside = [{"bytes": None, "path": str(tmp_path / "one.png")}, {"bytes": b"two", "path": "two.png"}]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    made = datasets.Dataset.from_dict({"image": inside, "text": ["a", "b"]}, features=features)
    pq.write_table(pa.table({"image": [b"one", b"two"], "text": ["a", "b"]}), tmp_path / "c.parquet")
    found = []
    for path in (tmp_path / "c.parquet", made, {"image": [b"one", b"two"], "text": ["a", "b"]}):
        chunk = _chunks(Source(path, text=None, image="image"))[0]
        assert (chunk.images, chunk.texts) == ([b"one", b"two"], [])
        assert chunk.uids == [f"{int(key):016x}-0" for key in hash64_bytes([b"one", b"two"])]
        both = _chunks(Source(path, image="image"))[0]
        assert (both.images, both.texts) == ([b"one", b"two"], ["a", "b"])
        found.append(both.uids)
    assert found[0] == found[1] == found[2]
    assert found[0] != chunk.uids
    for value, got in ((None, "null"), (b"", "none"), ({"bytes": None, "path": "nowhere.png"}, "cannot be read")):
        pq.write_table(pa.table({"image": pa.array([value])}), tmp_path / "bad.parquet")
        with pytest.raises(ValueError, match=f"bad.parquet, row 1: .*field 'image'.*{got}"):
            _chunks(Source(tmp_path / "bad.parquet", text=None, image="image"))


def test_rows_with_neither_text_nor_image(tmp_path: Path) -> None:
    doubled = np.concatenate([VECTORS, VECTORS[:2]])
    uids = [uid for chunk in _chunks(Source({"v": doubled}, text=None, chunk_rows=5)) for uid in chunk.uids]
    assert len(set(uids)) == 12
    assert [uid.replace("-0", "-1") for uid in uids[:2]] == uids[10:]
    # the label alone would make them all alike
    labelled = Source({"v": VECTORS, "kind": [1] * 10}, text=None, label="kind")
    assert all(uid.endswith("-0") for uid in _chunks(labelled)[0].uids)
    table = score(Source({"v": doubled}, text=None), "random", tmp_path / "t")
    assert table.read("rows", "tokens").to_pylist() == [None] * 12


def test_the_token_estimate_by_hand() -> None:
    assert token_counter(None).count(["", "a", "abcd", "abcde", "éé", "ééé", "日本"]).tolist() == [0, 1, 1, 2, 1, 2, 2]
    assert token_counter(None).described == "estimate: utf-8 bytes / 4, rounded up"


def _save_tokenizer(folder: Path, n: int = 500) -> Path:
    words = {"[UNK]": 0, **{f"word{i}": i + 1 for i in range(n)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(4)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def test_a_tokenizer_counts(tmp_path: Path) -> None:
    rows = make_rows(30)
    corpus = write_jsonl(tmp_path / "c.jsonl", rows)
    tokens = str(_save_tokenizer(tmp_path / "tokenizer"))
    table = score(Source(corpus, tokens=tokens, chunk_rows=7), "length", tmp_path / "t")
    assert table.read("rows", "tokens").to_pylist() == [len(str(row["text"]).split()) for row in rows]
    said = table.manifest["input"]["fields"]["tokens"]
    assert str(said).startswith("tokenizer: blake2b ")
    with pytest.raises(ValueError, match="made with tokens='tokenizer: blake2b .*wanted is tokens='estimate"):
        score(corpus, "length", tmp_path / "t")
    smaller = str(_save_tokenizer(tmp_path / "smaller", 400))
    assert token_counter(smaller).described != said
    with pytest.raises(ValueError, match="want a tokenizer, got none"):
        score(Source(corpus, tokens=str(tmp_path / "t")), "length", tmp_path / "other")


def test_hashes_of_text_are_those_of_its_bytes() -> None:
    assert hash64(["é", ""]).tolist() == hash64_bytes(["é".encode(), b""]).tolist()
