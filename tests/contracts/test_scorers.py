"""What every scorer promises. Each file of datapruner/scorers is enrolled by itself."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datapruner import Batch, Scorer
from datapruner.scoring.scorer_columns import SCORERS
from datapruner.scoring.workspace import Workspace
from prunekernels import registry, spec
from tests.datapruner.tiny_models import save_tiny_classifier, save_tiny_model
from tests.datapruner.tiny_records import save_tiny_record

NAMES = registry.names(SCORERS)
ROOT = Path(__file__).resolve().parents[2]

# scorers with a model may differ by rounding when the shape of a batch differs; float32 over a few layers
ROUNDING = 5e-5

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "",
    "x",
    " \n\t ",
    "naïve café, 猫が好き。 नमस्ते 🏛️👩‍🚀 e\u0301\x00\r\n\u2028.",
    "The quick brown fox jumps over the lazy dog.",
    "The quick brown fox jumps over the lazy cat.",
    "word " * 300,
    "!!! ???",
    "def f(x):\n    return x ** 2\nThe quick brown fox jumps over the lazy dog.\n" + "word " * 60,
    "y" * 700,
    "The  QUICK brown fox, jumps over the lazy dog",
)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model, and below it what scorers of other kinds read."""
    folder = save_tiny_model(tmp_path_factory.mktemp("model"))
    save_tiny_classifier(folder / "classifier")
    save_tiny_record(folder / "dynamics.safetensors", [f"u{i}" for i in range(len(TEXTS))])
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


VECTORS = np.random.default_rng(0).normal(size=(len(TEXTS), 5)).astype(np.float32)


def _image(place: int) -> bytes:
    """A small picture; one is broken, some are copies, in another size or not, and one is much like another."""
    place = 0 if place == 5 else place
    seed = {6: 0, 7: 1, 11: 2}.get(place, place)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    if place == 7:
        pixels[:2, :2] = 128
    file = io.BytesIO()
    Image.fromarray(pixels).resize((16 + 4 * (place % 5), 16 + place % 3)).save(file, "PNG")
    return b"broken" if place == 3 else file.getvalue()


IMAGES = [_image(place) for place in range(len(TEXTS))]


def _class(name: str) -> type[Scorer]:
    return registry.load(SCORERS, name, Scorer)


# what any of them reads beside the text
FIELDS = sorted({field for name in NAMES for field in _class(name)().fields()})


def _text(name: str, model: Path) -> str:
    """The text form with defaults; a scorer that cannot do without gets a tiny model, record or second corpus."""
    places = {"model": model, "classifier": model / "classifier", "record": model / "dynamics.safetensors"}
    given = []
    for field in dataclasses.fields(_class(name)):
        if field.name in places and field.default is not None:
            given.append(f"{field.name}={places[field.name]}")
        if field.metadata.get("is_second_corpus") and field.default == "":
            given.append(f"{field.name}={_second_corpus(model.parent)}")
    return f"{name}:{','.join(given)}" if given else name


def _second_corpus(folder: Path) -> Path:
    """Some of TEXTS, whole and in part, with vectors and labels."""
    path = folder / "second.jsonl"
    texts = [TEXTS[0], "The quick brown fox jumps", TEXTS[8], "another text, about nothing", "and more"]
    rows = [
        {
            "text": text,
            "label": i % 2,
            "embedding": VECTORS[(0, 1, 8, 2, 5)[i]].tolist(),
            "logits": np.eye(5)[i // 3].tolist(),
        }
        for i, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(params=NAMES)
def scorer(request: pytest.FixtureRequest, model: Path) -> Scorer:
    return spec.build(SCORERS, _text(request.param, model), Scorer)


def batch_of(order: list[int]) -> Batch:
    """A corpus of TEXTS in another order: row numbers are places, all else stays with its text."""
    return Batch(
        np.arange(len(order)),
        [f"u{i}" for i in order],
        [TEXTS[i] for i in order],
        ["g"] * len(order),
        [i % 3 for i in order],
        [IMAGES[i] for i in order],
        vectors={"embedding": VECTORS[order], "logits": VECTORS[order], "score": VECTORS[order][:, :1]},
        fields={
            # rows share a question
            **{name: [TEXTS[i % 2 if name == "question" else i - 1] for i in order] for name in FIELDS},
            "url": [f"http://example.org/{i % 4}" for i in order],
        },
    )


def part(batch: Batch, indices: list[int]) -> Batch:
    names = ("uids", "texts", "groups", "labels", "images")
    lists = {name: [getattr(batch, name)[i] for i in indices] for name in names}
    vectors = {name: rows[indices] for name, rows in batch.vectors.items()}
    fields = {name: [texts[i] for i in indices] for name, texts in batch.fields.items()}
    return Batch(batch.rows[indices], **lists, vectors=vectors, fields=fields)


def fitted(scorer: Scorer, batch: Batch) -> np.ndarray:
    scorer.check()
    return scorer.checked(batch, scorer.fit([batch]))


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_with_defaults_and_words(name: str) -> None:
    scorer = _class(name)()
    assert dataclasses.is_dataclass(scorer)
    assert type(scorer).__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert re.match(r"(Paper|Rule): \S", str(type(scorer).__doc__)), "the docstring begins with its paper or rule"
    assert type(scorer).direction
    assert "\n" not in type(scorer).direction
    assert inspect.getmodule(type(scorer)).__doc__  # type: ignore[union-attr]
    assert scorer == _class(name)()


def test_text_form_reads_back(scorer: Scorer) -> None:
    assert spec.build(SCORERS, spec.describe(scorer), Scorer) == scorer
    assert set(scorer.scoring_fields()) <= {field.name for field in dataclasses.fields(scorer)}


def test_scores_are_float32_finite_and_one_a_row(scorer: Scorer) -> None:
    batch = batch_of(list(range(12)))
    scores = fitted(scorer, batch)
    assert scores.dtype == np.float32
    assert scores.shape == (12,)
    # a model of random weights knows nothing by heart
    assert len(set(scores.tolist())) > 2 or isinstance(scorer, _class("memorization"))
    for name, values in scorer.detailed(batch, scorer.fit([batch])).items():
        assert name != "score"
        assert len(values) == 12


def test_empty_batch_and_one_row(scorer: Scorer) -> None:
    for order in ([], [0], [1]):
        batch = batch_of(order)
        assert fitted(scorer, batch).shape == (len(order),)
        assert all(len(values) == len(order) for values in scorer.detailed(batch, scorer.fit([batch])).values())


def test_batching_and_neighbours_change_nothing(scorer: Scorer) -> None:
    batch = batch_of(list(range(12)))
    whole, state = fitted(scorer, batch), scorer.fit([batch])
    for pieces in ([[i] for i in range(12)], [[11, 3, 0], [7, 1, 2, 10], [4, 5, 9, 8, 6]]):
        for piece in pieces:
            np.testing.assert_allclose(
                scorer.checked(part(batch, piece), state), whole[piece], rtol=ROUNDING, atol=1e-6
            )
    assert (scorer.checked(batch, state) == whole).all()


def test_order_of_the_corpus_changes_nothing(scorer: Scorer) -> None:
    whole = fitted(scorer, batch_of(list(range(12))))
    for seed in range(3):
        order = random.Random(seed).sample(range(12), 12)
        fresh = dataclasses.replace(scorer)
        np.testing.assert_allclose(fitted(fresh, batch_of(order)), whole[order], rtol=ROUNDING, atol=1e-6)


def test_fitting_in_batches_changes_nothing(scorer: Scorer) -> None:
    batch = batch_of(list(range(12)))
    whole = fitted(scorer, batch)
    state = scorer.fit([part(batch, [*range(i, min(i + 5, 12))]) for i in range(0, 12, 5)])
    assert (scorer.checked(batch, state) == whole).all()


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from prunekernels import spec
from datapruner import Scorer
from tests.contracts.test_scorers import SCORERS, batch_of, fitted
for text in sys.argv[1:]:
    print(fitted(spec.build(SCORERS, text, Scorer), batch_of(list(range(12)))).tobytes().hex())
"""


def test_a_second_process_says_the_same(model: Path) -> None:
    texts = [_text(name, model) for name in NAMES]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *texts],
        capture_output=True,
        text=True,
        # hashes of Python's own strings differ from process to process
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "123"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for text, said in zip(texts, done.stdout.split(), strict=True):
        scorer = spec.build(SCORERS, text, Scorer)
        assert fitted(scorer, batch_of(list(range(12)))).tobytes().hex() == said, text


def test_row_numbers_alone_do_where_it_says_so(scorer: Scorer) -> None:
    if not scorer.scores_by_number:
        pytest.skip("looks at its rows")
    whole = batch_of([*range(len(TEXTS))])
    state = scorer.fitted([whole], Workspace())
    bare = Batch(whole.rows, whole.uids, [])
    np.testing.assert_array_equal(scorer.checked(bare, state), scorer.checked(whole, state))
    for name, values in scorer.detailed(whole, state).items():
        np.testing.assert_array_equal(scorer.detailed(bare, state)[name], values)
