"""What every labeler promises. Each file of contextpruner/labelers is enrolled by itself."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from contextpruner import Document, Labeler, Labels, SplitDocument, Unit, split
from contextpruner.labeler import LABELERS, build_labeler
from prunekernels import registry, spec
from tests.contextpruner.tiny_models import save_tiny_model

NAMES = registry.names(LABELERS)
ROOT = Path(__file__).resolve().parents[2]

# a model may round otherwise when the shape of its batch differs: float32 over a few layers; all else is exact
ROUNDING = 1e-5

# each tiny model is written once
FOLDERS: dict[str, Path] = {}

QUESTION = "Who designed the dome of the cathedral?"
DOCUMENTS = (
    Document("The dome was designed by Brunelleschi. It was finished in 1436. Tourists climb it.", 1, "Florence"),
    Document("", 2),
    Document("Bread is baked from flour and water.", 3),
    Document("# Heading\n\n- item one\n- the dome\n\n| a | b |\n|---|---|\n| dome | 2 |\n\nThe end.", 4, "Notes"),
    Document("穹顶是谁设计的？布鲁内莱斯基。 गुंबद किसने बनाया? من صمم القبة؟ 🏛️👩‍🚀 e\u0301\x00\r\n.", 5, "多语言"),
    Document(" \n\t ", 6),
    Document("word " * 700, 7),
)


@pytest.fixture(params=NAMES)
def labeler(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Labeler:
    """The labeler with its defaults; one that needs a model gets a tiny one on disk."""
    name = request.param
    if not _has_model(name):
        return build_labeler(name)
    if name not in FOLDERS:
        FOLDERS[name] = save_tiny_model(name, tmp_path_factory.mktemp(name))
    return build_labeler(f"{name}:model={FOLDERS[name]}")


def _class(name: str) -> type[Labeler]:
    return registry.load(LABELERS, name, Labeler)  # type: ignore[type-abstract]


def _has_model(name: str) -> bool:
    return "model" in {field.name for field in dataclasses.fields(_class(name))}  # type: ignore[arg-type]


def _rounding(labeler: Labeler) -> float:
    return ROUNDING if hasattr(labeler, "model") else 0


def _score(labeler: Labeler, *documents: Document, question: str = QUESTION) -> Labels:
    return labeler.score(question, [SplitDocument(document, tuple(split(document.text))) for document in documents])


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_dataclass_with_a_default_for_every_field(name: str) -> None:
    labeler = _class(name)
    assert dataclasses.is_dataclass(labeler)
    assert labeler.__dataclass_params__.frozen  # type: ignore[attr-defined]
    labeler()


@pytest.mark.parametrize("name", NAMES)
def test_the_module_says_rule_direction_and_meaning(name: str) -> None:
    text = inspect.getmodule(_class(name)).__doc__ or ""  # type: ignore[union-attr]
    assert "probability" in text.lower()
    assert "Higher =" in text
    # the formula is indented, as printed
    assert "\n\n    " in text
    assert (inspect.getdoc(_class(name)) or "").partition("\n")[0].endswith(".")
    assert _class(name).is_calibrated or "probability of" in text or "not a probability" in text or "floor" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_text_form_reads_back(name: str) -> None:
    labeler = _class(name)()
    assert build_labeler(spec.describe(labeler)) == labeler


def test_one_finite_float32_in_range_for_every_unit_and_document(labeler: Labeler) -> None:
    labels = _score(labeler, *DOCUMENTS)
    assert [len(values) for values in labels.probabilities] == [len(split(item.text)) for item in DOCUMENTS]
    for values in (*labels.probabilities, labels.scores):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert all(((values >= 0) & (values <= 1)).all() for values in labels.probabilities)
    assert labels.scores.shape == (len(DOCUMENTS),)


def test_the_order_of_documents_changes_nothing(labeler: Labeler) -> None:
    order = [3, 0, 6, 5, 1, 4, 2]
    there = _score(labeler, *DOCUMENTS)
    back = _score(labeler, *(DOCUMENTS[index] for index in order))
    for place, index in enumerate(order):
        np.testing.assert_allclose(
            back.probabilities[place], there.probabilities[index], rtol=0, atol=_rounding(labeler)
        )
        assert back.scores[place] == pytest.approx(there.scores[index], abs=_rounding(labeler))


def test_other_documents_change_nothing_unless_it_says_so(labeler: Labeler) -> None:
    if labeler.depends_on_batch:
        pytest.skip("its statistics are those of the call")
    together = _score(labeler, *DOCUMENTS)
    for index, document in enumerate(DOCUMENTS):
        alone = _score(labeler, document)
        np.testing.assert_allclose(
            alone.probabilities[0], together.probabilities[index], rtol=0, atol=_rounding(labeler)
        )
        assert alone.scores[0] == pytest.approx(together.scores[index], abs=_rounding(labeler))


def test_the_batch_size_changes_nothing(labeler: Labeler) -> None:
    if "batch_size" not in {field.name for field in dataclasses.fields(labeler)}:  # type: ignore[arg-type]
        pytest.skip("it has no batches")
    one = dataclasses.replace(labeler, batch_size=1)  # type: ignore[type-var]
    there, here = _score(labeler, *DOCUMENTS), _score(one, *DOCUMENTS)
    for many, single in zip(there.probabilities, here.probabilities, strict=True):
        np.testing.assert_allclose(single, many, rtol=0, atol=_rounding(labeler))


def test_equal_documents_get_equal_labels(labeler: Labeler) -> None:
    labels = _score(labeler, DOCUMENTS[0], DOCUMENTS[3], DOCUMENTS[0])
    np.testing.assert_array_equal(labels.probabilities[0], labels.probabilities[2])
    assert labels.scores[0] == labels.scores[2]


def test_empty_documents_alone_are_fine(labeler: Labeler) -> None:
    labels = _score(labeler, Document(""), Document(""))
    assert [len(values) for values in labels.probabilities] == [0, 0]
    assert labels.scores[0] == labels.scores[1]
    if not labeler.ranks_documents:
        np.testing.assert_array_equal(labels.scores, [0, 0])


def test_no_documents_are_fine(labeler: Labeler) -> None:
    labels = labeler.score(QUESTION, [])
    assert labels.probabilities == ()
    assert labels.scores.shape == (0,)


@pytest.mark.parametrize("text", ["a" * 100_000, "谁" * 100_000, "e" + "\u0301" * 20_000, "\u200b\u200d\ufe0f", "\x00"])
def test_a_unit_of_any_size_has_one_number(labeler: Labeler, text: str) -> None:
    # a splitter of the user's own may leave a text whole, and some tokenizers find nothing to read in one
    whole = SplitDocument(Document(text), (Unit(0, len(text), "sentence"),))
    labels = labeler.score(QUESTION, [whole])
    assert labels.probabilities[0].shape == (1,)


def test_saying_it_again_and_in_several_threads_says_the_same(labeler: Labeler) -> None:
    questions = [f"{QUESTION} {number % 3}" for number in range(12)]
    there = [_score(labeler, *DOCUMENTS[:6], question=question) for question in questions]
    with ThreadPoolExecutor(4) as pool:
        here = list(pool.map(lambda question: _score(labeler, *DOCUMENTS[:6], question=question), questions))
    for one, other in zip(there, here, strict=True):
        for mine, theirs in zip((*one.probabilities, one.scores), (*other.probabilities, other.scores), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_questions_of_any_kind_are_fine(labeler: Labeler) -> None:
    for question in ("?", "谁？", "\x00", "e\u0301" * 3, "the " * 2000):
        _score(labeler, *DOCUMENTS, question=question)


def test_other_processes_say_the_same(labeler: Labeler) -> None:
    program = (
        "import json, sys\n"
        "from contextpruner import Document, SplitDocument, split\n"
        "from contextpruner.labeler import build_labeler\n"
        "text, question, rows = json.load(sys.stdin)\n"
        "documents = [SplitDocument(Document(*row), tuple(split(row[0]))) for row in rows]\n"
        "labels = build_labeler(text).score(question, documents)\n"
        "print(json.dumps([values.tolist() for values in (*labels.probabilities, labels.scores)]))\n"
    )
    rows = [[item.text, item.id, item.title] for item in DOCUMENTS]
    there = _score(labeler, *DOCUMENTS)
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'kernels'}"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([spec.describe(labeler), QUESTION, rows]),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    for mine, other in zip((*there.probabilities, there.scores), json.loads(done.stdout), strict=True):
        np.testing.assert_allclose(np.array(other, dtype=np.float32), mine, rtol=0, atol=_rounding(labeler))
