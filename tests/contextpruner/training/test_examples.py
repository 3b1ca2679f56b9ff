"""Examples as they are built: split by document, without what evaluates, with negatives that answer nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from contextpruner import ContextPruner
from contextpruner.documents.document import Document
from contextpruner.models.sentence_transformer import load_sentence_transformer
from contextpruner.training.examples.build import build_examples
from contextpruner.training.examples.example import TrainingExample, line_of, read_training_examples
from contextpruner.training.examples.overlap import ShingleSet
from contextpruner.training.examples.passage_index import PassageIndex, VectorIndex
from contextpruner.training.recipe import Recipe, read_recipe
from tests.contextpruner.tiny_encoder import save_tiny_encoder
from tests.contextpruner.training.question_sets import write_recipe


def changed(recipe: Recipe, **settings: object) -> Recipe:
    return dataclasses.replace(recipe, examples=dataclasses.replace(recipe.examples, **settings))  # type: ignore[arg-type]


def built(recipe: Recipe) -> tuple[list[TrainingExample], list[TrainingExample]]:
    build_examples(recipe, overwrite=True)
    folder = recipe.folder("examples")
    return tuple([*read_training_examples(folder / f"{split}.jsonl")] for split in ("train", "validation"))  # type: ignore[return-value]


def test_articles_stand_in_one_split_and_negatives_answer_nothing(tmp_path: Path) -> None:
    recipe = changed(read_recipe(write_recipe(tmp_path)), negatives=1.0)
    train, validation = built(recipe)
    assert {one.group for one in train}.isdisjoint(one.group for one in validation)
    held = {document.text for one in validation for document in one.documents}
    assert len(train) > 60
    assert len(validation) >= 12
    negatives = 0
    for one in train:
        assert not held & {document.text for document in one.documents}
        name = one.question.removesuffix("?").split()[-1]
        for document, spans in zip(one.documents[1:], one.gold[1:], strict=True):
            negatives += 1
            assert spans == ()
            assert document.text != one.documents[0].text
            if one.is_answerable:
                start, end = one.gold[0][0]
                # what was written about the same thing, and names somebody else
                assert one.documents[0].text[start:end] not in document.text or not name
    assert negatives > 40
    assert all(len(one.documents) == 1 and one.form == "seen" for one in validation)
    # the answer goes along
    for one in validation:
        assert one.answer == "".join(one.documents[0].text[a:b] for spans in one.gold for a, b in spans)


def test_negatives_may_be_those_that_embeddings_find(tmp_path: Path) -> None:
    recipe = changed(read_recipe(write_recipe(tmp_path)), negatives=1.0, same_article=0.0)
    model = str(save_tiny_encoder(tmp_path / "encoder"))
    lexical = built(recipe)[0]
    embedded = built(changed(recipe, embedded_negatives=1.0, negative_model=model))[0]
    assert [one.id for one in lexical] == [one.id for one in embedded]
    assert [one.documents for one in lexical] != [one.documents for one in embedded]
    for one in embedded:
        for document, spans in zip(one.documents[1:], one.gold[1:], strict=True):
            assert spans == ()
            assert document.text != one.documents[0].text
    with pytest.raises(ValueError, match="want a negative_model, a sentence-transformers model; got none"):
        built(changed(recipe, embedded_negatives=0.5))


def test_a_vector_index_gives_the_nearest_first(tmp_path: Path) -> None:
    encoder = load_sentence_transformer(str(save_tiny_encoder(tmp_path)))
    texts = ["the dome is tall", "1234567", "who made it?", "the dome is tall"]
    index = VectorIndex(encoder, texts)
    assert index.search("the dome is tall", 2) == [0, 3]
    asked = encoder.encode_query(["who made that"], normalize_embeddings=True)[0]
    order = (-(encoder.encode_document(texts, normalize_embeddings=True) @ asked)).argsort(kind="stable").tolist()
    assert index.search("who made that", 10) == order
    assert VectorIndex(encoder, []).search("who", 3) == []


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    first, second = (built(one)[0] for one in (recipe, recipe))
    assert first == second
    assert built(dataclasses.replace(recipe, seed=1))[0] != first


def test_every_form_keeps_its_gold(tmp_path: Path) -> None:
    recipe = changed(read_recipe(write_recipe(tmp_path)), structured=1.0, polite=0.3, misspelt=0.3, keywords=0.3)
    source = dataclasses.replace(recipe.examples.sources[0], asked="blind")
    train, validation = built(changed(recipe, sources=(source,)))
    forms = {one.form for one in train}
    assert {"polite list blind", "misspelt table blind", "keywords sections blind"} <= forms
    assert {one.form for one in validation} == {"blind"}
    for one in train:
        if one.is_answerable:
            texts = [
                document.text[start:end]
                for document, spans in zip(one.documents, one.gold, strict=True)
                for start, end in spans
            ]
            assert len(texts) == 1
            assert texts[0] in ("ana", "bob", "cid", "dan", "eva", "fay", "gus", "hal")


def test_what_evaluates_is_not_learnt_from(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    rows = (tmp_path / "sets" / "facts.jsonl").read_text().splitlines()
    train, _ = built(recipe)
    text = train[0].documents[0].text
    judged = [row for row in rows if json.loads(row)["article"] == train[0].group.partition(":")[2]]
    # case, marks and white space hide no copy
    copies = [json.loads(row) | {"answer": "", "answer_start": -1} for row in judged]
    for copy in copies:
        copy["context"] = copy["context"].upper().replace(". ", " -\n")
    (tmp_path / "sets" / "judged.jsonl").write_text("".join(json.dumps(copy) + "\n" for copy in copies))
    source = dataclasses.replace(recipe.examples.sources[0], path="judged.jsonl")
    kept, _ = built(changed(recipe, evaluation=(source,)))
    counts = json.loads((recipe.folder("examples") / "manifest.json").read_text())
    assert counts["facts"]["overlap"] >= 6
    assert len(kept) < len(train)
    assert all(text not in document.text for one in kept for document in one.documents[:1])
    both, _ = built(changed(recipe, evaluation=(source,), allow_overlap=True))
    assert len(both) == len(train)


def test_other_licences_are_not_read(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    closed = dataclasses.replace(recipe.examples.sources[0], licence="B")
    with pytest.raises(ValueError, match="want at least one question to learn from, got none in 1 sources"):
        build_examples(changed(recipe, sources=(closed,)))


def test_lines_come_back_as_they_were_and_calibrate_reads_them(tmp_path: Path) -> None:
    document = Document("It was ana who made the dome.\n\nNobody knows why.", title="Ü")
    example = TrainingExample(
        "a/1", "Wer?", (document, Document("x")), (((7, 10),), ()), "de", "a", "f:1", "train", "A", answer="ana"
    )
    path = tmp_path / "examples.jsonl"
    path.write_text(line_of(example) + "\n", "utf-8")
    assert [*read_training_examples(path)] == [example]
    assert ContextPruner("bm25").calibrate(read_training_examples(path)).n_questions == 1


def test_bm25_by_hand() -> None:
    index = PassageIndex(["the dome of ana", "the boat of bob and bob", "a lamp", "the dome, the dome"])
    assert index.search("who made the dome", 5)[:2] == [3, 0]
    assert index.search("bob", 5) == [1]
    assert index.search("bob lamp", 1) == [2]
    assert index.search("nobody", 5) == []
    assert PassageIndex([]).search("dome", 5) == []


def test_shingles_tell_copies_from_others() -> None:
    text = "one two three four five six seven eight nine ten"
    held = ShingleSet([text])
    assert held.share(text.upper() + "!") == 1
    assert held.share("zero " + text) == pytest.approx(3 / 4)
    assert held.share("ten nine eight seven six five four three two one") == 0
    assert held.share("") == 0
    assert ShingleSet(["short text"]).share("Short text.") == 1
