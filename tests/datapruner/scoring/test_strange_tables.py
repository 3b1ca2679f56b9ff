"""Score tables and selections from elsewhere: what was changed in them is found, what they name is no way out."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import ScoreTable, Selection, Source, score, select
from datapruner.corpus.checked_parquet import n_rows, open_checked, write_table
from datapruner.scoring import manifest as manifests
from datapruner.scoring.manifest import MANIFEST, save_manifest
from datapruner.scoring.safetensors_mmap import mmap_safetensors, save_safetensors
from tests.datapruner.drawn_tables import make_table, scored


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def _read_all(path: Path) -> dict[str, list[object]]:
    with open_checked(path) as file:
        return {name: file.read(name).to_pylist() for name in file.file.schema_arrow.names}


def _load_selection(path: Path) -> list[str]:
    return Selection.load(path).kept_uids


def _parts(folder: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    table = make_table(folder / "t", scored(a=np.linspace(0, 1, 11)), groups=[*"xxyyzzxxyyz"])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(40, dtype=np.float32)), 4)
    write_table(pa.table({"vector": vectors, "nearest_row": np.arange(10)}), folder / "v.parquet")
    select(table, "top", "a", 0.4, "source").save(folder / "s.parquet")
    save_safetensors({"one": np.arange(7, dtype=np.float32), "two": np.arange(3)}, folder / "fit.safetensors")
    return {
        "rows": (table.part("rows", 0), _read_all),
        "vectors": (folder / "v.parquet", _read_all),
        "selection": (folder / "s.parquet", _load_selection),
        "fit": (folder / "fit.safetensors", mmap_safetensors),
        "manifest": (table.path / MANIFEST, manifests.read_manifest),
    }


@pytest.mark.parametrize("kind", ["rows", "vectors", "selection", "fit", "manifest"])
def test_a_flipped_bit_is_found(tmp_path: Path, kind: str) -> None:
    path, read = _parts(tmp_path)[kind]
    data, draw = path.read_bytes(), random.Random(3)
    whole = read(path)
    for bit in draw.sample(range(8 * len(data)), 60):
        path.write_bytes(_flipped(data, bit))
        # white space of JSON may change
        if kind == "manifest" and json.loads(data) == _json(path):
            continue
        if kind == "selection":
            # what `load` leaves for later, the uids, is read by kept_uids; row and kept are for other readers
            with pytest.raises(ValueError, match="s.parquet"):
                _read_all(path)
        else:
            with pytest.raises(ValueError, match=path.name):
                read(path)
    path.write_bytes(data)
    assert repr(read(path)) == repr(whole)


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def test_every_byte_of_a_part_is_covered(tmp_path: Path) -> None:
    path = _parts(tmp_path)["vectors"][0]
    metadata = pq.read_metadata(path)
    spans = []
    for group in range(metadata.num_row_groups):
        for leaf in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(leaf)
            start = min(filter(None, (chunk.data_page_offset, chunk.dictionary_page_offset)))
            spans.append((start, start + chunk.total_compressed_size))
    ends = [4, *(end for _, end in sorted(spans))]
    # behind the first four letters one after another up to the footer
    assert [start for start, _ in sorted(spans)] == ends[:-1]
    assert path.stat().st_size - ends[-1] == metadata.serialized_size + 8
    # and other readers read it
    assert pq.read_table(path).num_rows == n_rows(path) == 10


def test_one_column_is_read_where_another_is_broken(tmp_path: Path) -> None:
    path = _parts(tmp_path)["vectors"][0]
    where = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    path.write_bytes(_flipped(path.read_bytes(), 8 * (where + 30)))
    with open_checked(path) as file:
        assert file.read("nearest_row").to_pylist() == [*range(10)]
        with pytest.raises(ValueError, match="v.parquet: the bytes of 'vector' are not those that were written"):
            file.read("vector")


def test_a_table_from_elsewhere_deletes_nothing_but_its_own(corpus: Path, tmp_path: Path) -> None:
    table = score(corpus, "length", tmp_path / "deep" / "t")
    thesis = tmp_path / "deep" / "home" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    column = table.manifest["columns"]["length"]
    for name in ("../home", str(thesis.parent), "..", "a/../../home", "", ".hidden", "rows"):
        save_manifest(table.path, {**table.manifest, "rows": None, "chunks": None, "columns": {name: column}})
        with pytest.raises(ValueError, match="manifest.json: columns: want"):
            score(corpus, "length", table.path)
        assert thesis.read_text() == "years of work"
    # in a folder of a column's name it removes parts, and what somebody put beside them stays
    save_manifest(table.path, {**table.manifest, "rows": None, "chunks": None, "columns": {"mine": column}})
    (table.path / "mine").mkdir()
    thesis.rename(table.path / "mine" / "thesis.tex")
    (table.path / "mine" / "00000000.parquet").write_bytes(b"a part")
    score(corpus, "length", table.path)
    assert [path.name for path in (table.path / "mine").iterdir()] == ["thesis.tex"]


def test_refuses_what_comes_from_the_future_and_the_past(table: ScoreTable, tmp_path: Path) -> None:
    for number, message in (
        (4, "want format 3 or older, got 4, which a newer prunekit wrote"),
        (2, "got an older one"),
    ):
        save_manifest(table.path, {**table.manifest, "format": number})
        with pytest.raises(ValueError, match=f"manifest.json: .*{message}"):
            ScoreTable(table.path)
    save_manifest(table.path, table.manifest)
    select(table, "top", "length", 0.5).save(tmp_path / "s.parquet")
    read = pq.read_table(tmp_path / "s.parquet")
    about = json.loads(read.schema.metadata[b"prunekit.selection"])
    changed = {b"prunekit.selection": json.dumps({**about, "format": 3}).encode()}
    write_table(read.replace_schema_metadata(changed), tmp_path / "s.parquet")
    with pytest.raises(ValueError, match="s.parquet is no selection .*want format 2 or older, got 3"):
        Selection.load(tmp_path / "s.parquet")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"score": np.array([np.nan] * 3, dtype=np.float32)}, "finite scores"),
        ({"score": np.zeros(3)}, "want 'score' as float, got double"),
        ({"score": ["a", "b", "c"]}, "want 'score' as float, got string"),
        ({"score": [[1.0], [2.0], [3.0]]}, "want 'score' as float"),
        ({"score": np.zeros(2, dtype=np.float32)}, "want 3 rows, got 2"),
        ({"points": np.zeros(3, dtype=np.float32)}, "want a field 'score', got points"),
    ],
)
def test_parts_of_another_kind_are_refused(tmp_path: Path, values: dict[str, object], message: str) -> None:
    table = make_table(tmp_path / "t", scored(a=np.linspace(0, 1, 11)))
    write_table(pa.table(values), table.part("a", 0))
    with pytest.raises(ValueError, match=f"00000000.parquet: .*{message}"):
        select(table, "top", "a", 0.5)


def _edited(value: object, draw: random.Random) -> object:
    """`value` of JSON with one change somewhere in it."""
    strange = [None, True, -1, 0, 2**70, 1.5, "", "../x", "a\x1b[31mb", [], {}, [[]], {"x": None}, "9" * 300]
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        how = draw.random()
        if how < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if how < 0.2:
            return {**value, draw.choice(["../x", "new", "", "\x1b"]): value[key]}
        return {**value, key: _edited(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        return [*value[:at], _edited(value[at], draw), *value[at + 1 :]]
    return draw.choice(strange)


def _use(path: Path, corpus: Path, selection: Path) -> None:
    """Everything that reads a table; raises ValueError or OSError of one line, or does what it should."""
    for call in (
        lambda: select(path, "middle", "length", 0.5, "source").kept_uids,
        lambda: ScoreTable(path).vector_columns,
        lambda: score(Source(corpus, uid="id", group="source", chunk_rows=60), ["length", "random:seed=3"], path),
        lambda: Selection.load(selection).counts(),
    ):
        said = ""
        try:
            call()
        except (ValueError, OSError) as error:
            said = str(error)
        assert said.isprintable(), said
        assert len(said) < 2000


# more of them by hand
EDITS = 20


def test_edited_tables_give_a_result_or_one_line(corpus: Path, tmp_path: Path) -> None:
    source = Source(corpus, uid="id", group="source", chunk_rows=60)
    whole = score(source, ["length", "hashed_ngrams:dims=4"], tmp_path / "whole")
    select(whole, "middle", "length", 0.5, "source").save(tmp_path / "whole" / "s.parquet")
    read = pq.read_table(tmp_path / "whole" / "s.parquet")
    about = json.loads(read.schema.metadata[b"prunekit.selection"])
    for seed in range(EDITS):
        draw, path = random.Random(seed), tmp_path / "t"
        shutil.copytree(whole.path, path)
        if draw.random() < 0.7:
            # with a checksum that fits: as somebody would who means it
            text = _edited(json.loads(json.dumps(whole.manifest)), draw)
            if isinstance(text, dict):
                save_manifest(path, text)  # type: ignore[arg-type]
            else:
                (path / MANIFEST).write_text(json.dumps(text))
            changed = {b"prunekit.selection": json.dumps(_edited(about, draw)).encode()}
            write_table(read.replace_schema_metadata(changed), path / "s.parquet")
        else:
            file = draw.choice(sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size))
            data = file.read_bytes()
            cut = draw.randrange(len(data))
            how = draw.choice([data[:cut], data[cut:], data + b"x", b"", _flipped(data, 8 * cut)])
            file.write_bytes(how)
        _use(path, corpus, path / "s.parquet")
        shutil.rmtree(path)
