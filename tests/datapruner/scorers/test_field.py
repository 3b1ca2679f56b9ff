"""Fields of a row that scorers ask for: numbers, texts, and paths to either, in every form of input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapruner import Batch, Rule, Scorer, Source, State, prune, score, select
from datapruner.corpus.fragments import CorpusLike
from datapruner.recipe.dry_run import plan
from datapruner.recipe.recipe import Output, Recipe
from datapruner.scoring.scorer import NOTHING
from tests.datapruner.conftest import write_jsonl

ROWS: list[dict[str, object]] = [
    {
        "text": f"t{i}",
        "int_score": i % 5,
        "good": i % 2 == 0,
        "meta": {"score": i / 4, "pile_set_name": "web"},
        "messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}" * i}],
        "x.y": -i,
    }
    for i in range(10)
]
FORMS = ("jsonl", "parquet", "data set", "stream")


def given(form: str, folder: Path, rows: list[dict[str, object]] = ROWS) -> CorpusLike:
    if form == "jsonl":
        return write_jsonl(folder / "c.jsonl", rows)
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "c.parquet", row_group_size=4)
        return folder / "c.parquet"
    made = datasets.Dataset.from_list(rows)
    return made if form == "data set" else made.to_iterable_dataset()


@dataclass(frozen=True)
class Answer(Scorer):
    """Rule: characters of the answer less those of the longest question."""

    version: ClassVar[int] = 1
    direction: ClassVar[str] = "higher is longer"

    def fields(self) -> tuple[str, ...]:
        return ("messages.-1.content", "messages.0.content")

    def fit(self, corpus: Iterable[Batch]) -> State:
        return {"longest": np.array([max(len(q) for batch in corpus for q in batch.fields["messages.0.content"])])}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        lengths = [len(answer) for answer in batch.fields["messages.-1.content"]]
        return np.array(lengths, np.float32) - np.float32(state["longest"][0])


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_the_row(form: str, tmp_path: Path) -> None:
    names = {"int_score": "int_score", "flag": "good", "deep": "meta.score", "dots": "x.y"}
    source = Source(given(form, tmp_path), chunk_rows=3)
    specs = [f"{column}=field:name={name}" for column, name in names.items()]
    table = score(source, [*specs, "length"], tmp_path / "t")
    wanted = {
        "int_score": [i % 5 for i in range(10)],
        "flag": [float(i % 2 == 0) for i in range(10)],
        "deep": [i / 4 for i in range(10)],
        "dots": [-i for i in range(10)],
    }
    assert {name: table.scores(name).tolist() for name in wanted} == wanted
    kept = select(table, "threshold:minimum=3", by="int_score").kept
    assert kept.tolist() == [i for i in range(10) if i % 5 >= 3]


@pytest.mark.parametrize("form", FORMS)
def test_texts_of_the_row_in_fit_and_score(form: str, tmp_path: Path) -> None:
    table = score(Source(given(form, tmp_path), chunk_rows=4), Answer(), tmp_path / "t")
    assert table.scores("answer").tolist() == [2 * i - 2 for i in range(10)]


def test_a_number_as_a_vector_of_one(tmp_path: Path) -> None:
    for form in FORMS:
        source = Source(given(form, tmp_path))
        (chunk,) = source.raw_chunks(whole=False, more=["int_score"])
        found = source.vectors(chunk, "int_score")
        assert (found.dtype, found.tolist()) == (np.float32, [[i % 5] for i in range(10)])


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    source = Source(given("parquet", tmp_path))
    (chunk,) = source.raw_chunks(whole=False, more=["meta.score"])
    assert {field.name: str(field.type) for field in chunk.rows.table.schema} == {  # type: ignore[attr-defined]
        "meta": "struct<score: double>",
        "text": "string",
    }


BAD = {
    "field:name=nowhere": "want a (field|column) 'nowhere', got text, int_score",
    "field:name=meta.nowhere": "want a (field|column) 'meta.nowhere'",
    "field:name=text": "(line|row) 1: want a list of numbers in field 'text', got str",
    "field:name=score": "(line|row) 3: want a number in field 'score', got null",
    "field:name=huge": "(line|row) 2: want finite numbers in field 'huge', got inf",
    "field:name=pair": "field wants one number in 'pair', got lists of 2",
    "field:name=": "field wants the name of a field",
}


@pytest.mark.parametrize("spec", BAD)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_says_which_row_lacks_it(spec: str, form: str, tmp_path: Path) -> None:
    more = {"huge": [1.0, 1e300, 1.0, 1.0], "pair": [[1, 2]] * 4, "score": [1, 2, None, 4]}
    rows = [{**ROWS[i], **{name: values[i] for name, values in more.items()}} for i in range(4)]
    with pytest.raises(ValueError, match=BAD[spec]):
        score(Source(given(form, tmp_path, rows)), spec, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_whole_number_beyond_all_floats(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"text": "a", "n": 1}\n{"text": "b", "n": 1' + "0" * 400 + "}\n")
    with pytest.raises(ValueError, match="line 2: want finite numbers in field 'n', got inf"):
        score(tmp_path / "c.jsonl", "field:name=n", tmp_path / "t")


def test_texts_that_are_none(tmp_path: Path) -> None:
    rows = [*ROWS[:2], {**ROWS[2], "messages": [{"role": "user", "content": None}]}]
    with pytest.raises(ValueError, match=r"line 3: want a string in field 'messages.-1.content', got null"):
        score(given("jsonl", tmp_path, rows), Answer(), tmp_path / "t")
    rows = [*ROWS[:2], {**ROWS[2], "messages": []}]
    for form, place in (("jsonl", "line 3"), ("parquet", "row 3")):
        with pytest.raises(ValueError, match=f"{place}: want a field 'messages.-1.content', got"):
            score(given(form, tmp_path, rows), Answer(), tmp_path / form)


def test_prune_and_dry_run_by_a_field(tmp_path: Path) -> None:
    corpus = given("jsonl", tmp_path)
    out = Output(tmp_path / "out")
    recipe = Recipe(Source(corpus), ("field:name=meta.score",), (Rule("top", by="field", keep=0.2),), out)
    estimated = plan(recipe)
    assert estimated.columns[0].problem is None
    assert estimated.kept == 2
    selection = prune(corpus, "field:name=meta.score", "top", 0.2, out)
    assert selection.kept.tolist() == [8, 9]


def test_a_field_named_like_a_column_of_the_same_call(tmp_path: Path) -> None:
    """`hashed_ngrams` makes vectors: the field scorer waits for them, and refuses them as no numbers."""
    with pytest.raises(ValueError, match="field wants one number in 'hashed_ngrams', got lists of"):
        score(given("jsonl", tmp_path), ["hashed_ngrams", "field:name=hashed_ngrams"], tmp_path / "t")
