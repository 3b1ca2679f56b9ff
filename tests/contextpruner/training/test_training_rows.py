"""Packed rows are the rows that the labeler runs, each once an epoch, in batches of about one length."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from contextpruner.documents.document import Document
from contextpruner.labelers.provence import Provence
from contextpruner.models.document_tokens import encode_text, tokenize_document
from contextpruner.training.examples.build import build_examples
from contextpruner.training.examples.example import TrainingExample
from contextpruner.training.packed import shards
from contextpruner.training.packed.batches import batch_of, cut_batches, epoch_batches
from contextpruner.training.packed.rows import RowPacker
from contextpruner.training.packed.shards import PackedFolder, pack_examples
from contextpruner.training.recipe import Recipe, read_recipe
from contextpruner.training.student.encoder import make_student
from contextpruner.units.split import SplitDocument, split
from tests.contextpruner.training.question_sets import write_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    made = read_recipe(write_recipe(tmp_path_factory.mktemp("packed")))
    build_examples(made)
    make_student(made)
    return made


@pytest.fixture(scope="module")
def labeler(recipe: Recipe) -> Provence:
    return Provence(str(recipe.folder("student")))


TEXT = "# Stories\n\n" + " ".join(f"It was ana who made the dome {number}." for number in range(16))


def packed_rows(labeler: Provence, text: str, title: str | None, draw: random.Random | None = None):
    loaded = labeler.loaded
    packer = RowPacker(loaded.tokenizer, loaded.template, loaded.window)
    start = text.index("dome 6.")
    example = TrainingExample(
        "a", "Who made the dome?", (Document(text, title=title),), (((start, start + 6),),), "", "", ""
    )
    return [*packer.rows(example, draw)]


@pytest.mark.parametrize("title", [None, "Domes"])
def test_rows_are_those_of_the_labeler(labeler: Provence, title: str | None) -> None:
    cut = SplitDocument(Document(TEXT, title=title), tuple(split(TEXT)))
    tokens = tokenize_document(labeler.loaded.tokenizer, cut, True)
    asked = encode_text(labeler.loaded.tokenizer, "Who made the dome?")[0]
    wanted = labeler._rows(asked, cut, tokens)
    rows = packed_rows(labeler, TEXT, title)
    assert len(rows) == len(wanted) > 1
    for row, packed in zip(rows, wanted, strict=True):
        assert tuple(row.ids.tolist()) == packed.row.ids
        assert row.second == packed.row.second
        # tokens of question, title and context have no unit
        assert (row.unit[: packed.offset] == -1).all()
        assert row.unit.max() == len(row.gold) - 1 == len(row.sizes) - 1


def test_gold_is_the_unit_that_answers(labeler: Provence) -> None:
    rows = packed_rows(labeler, TEXT, None)
    tokenizer = labeler.loaded.tokenizer
    with_gold = [row for row in rows if row.gold.any()]
    assert with_gold
    for row in with_gold:
        ids = row.ids[np.isin(row.unit, np.flatnonzero(row.gold))]
        text = "".join(tokenizer.convert_ids_to_tokens(ids.tolist())).replace("▁", " ").strip()
        assert text == "It was ana who made the dome 6."
        assert row.sizes[row.gold].tolist() == [len(text) + 1]


def test_windows_with_gold_stay_and_one_without(labeler: Provence) -> None:
    every = packed_rows(labeler, TEXT, None)
    chosen = packed_rows(labeler, TEXT, None, random.Random(0))
    gold = sum(bool(row.gold.any()) for row in every)
    assert len(every) > gold + 1
    assert [bool(row.gold.any()) for row in chosen] == [True] * gold + [False]


@pytest.fixture(scope="module")
def packed(recipe: Recipe) -> PackedFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_TOKENS", 3000)
        return pack_examples(recipe, overwrite=True)


def rows_of(packed: PackedFolder, epoch: int, seed: int = 0) -> list[tuple[int, ...]]:
    return [
        tuple(ids[mask > 0].tolist())
        for batch in epoch_batches(packed, 500, 0, seed, epoch)
        for ids, mask in zip(batch.ids, batch.mask, strict=True)
    ]


def test_an_epoch_has_each_row_once_in_an_order_of_its_own(packed: PackedFolder) -> None:
    assert len(packed.files["train"]) > 2
    stored = []
    for file in packed.files["train"]:
        shard = packed.read(file)
        stored += [tuple(shard.ids[a:b].tolist()) for a, b in zip(shard.start, shard.start[1:], strict=False)]
    assert len(stored) == packed.rows["train"]
    assert sum(map(len, stored)) == packed.tokens["train"]
    first = rows_of(packed, 0)
    assert sorted(first) == sorted(stored)
    assert rows_of(packed, 0) == first
    assert first not in (rows_of(packed, 1), rows_of(packed, 0, seed=1))


def test_batches_are_full_and_hardly_padded() -> None:
    lengths = np.array([5, 9, 30, 5, 7, 100, 6, 8])
    cut = cut_batches(lengths, np.arange(8), 30)
    assert sorted(np.concatenate(cut).tolist()) == [*range(8)]
    # a row that is longer than a batch stands alone
    assert [5] in [batch.tolist() for batch in cut]
    for batch in cut:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= 30
    many = np.random.default_rng(0).integers(50, 400, 3000)
    padded = sum(len(batch) * many[batch].max() for batch in cut_batches(many, np.arange(3000), 4096))
    assert padded < 1.02 * many.sum()


def test_a_batch_holds_its_rows(packed: PackedFolder) -> None:
    shard = packed.read(packed.files["train"][0])
    rows = [3, 0, 2]
    batch = batch_of(shard, rows, pad=1)
    assert batch.tokens == int(batch.mask.sum()) == int(shard.lengths[rows].sum())
    assert (batch.ids[batch.mask == 0] == 1).all()
    assert batch.types.sum(1).tolist() == [int(shard.lengths[row] - shard.second[row]) for row in rows]
    for place, row in enumerate(rows):
        gold = shard.gold[shard.unit_start[row] : shard.unit_start[row + 1]]
        assert batch.gold[batch.row == place].tolist() == gold.tolist()
        own = shard.unit[shard.start[row] : shard.start[row + 1]].astype(int)
        first = int((batch.row < place).sum())
        assert batch.unit[place, : len(own)].tolist() == np.where(own >= 0, own + first, -1).tolist()
        assert batch.rank[place] == gold.any()


def test_rows_of_another_format_are_refused(packed: PackedFolder, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="want format 1 or older"):
        PackedFolder.open(tmp_path)
    assert dataclasses.is_dataclass(packed)
