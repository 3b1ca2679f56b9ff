"""Scores of a classifier's answers: by hand, against gradients and counting, string labels, several runs, ensembles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner import Batch, Source, score, select
from datapruner.scorers.el2n import El2n
from datapruner.scorers.grand import Grand
from datapruner.scorers.label_error import LabelError
from datapruner.scorers.margin import Margin
from datapruner.training.ensemble import Predictions, train_ensemble
from tests.datapruner.conftest import write_jsonl

DRAW = np.random.default_rng(0)
N, CLASSES, FEATURES = 60, 4, 7
LOGITS = (2 * DRAW.normal(size=(N, CLASSES))).astype(np.float32)
HIDDEN = DRAW.normal(size=(N, FEATURES)).astype(np.float32)
LABELS: list[str | int] = DRAW.integers(0, CLASSES, N).tolist()


def batch_of(labels: list[str | int], **vectors: np.ndarray) -> Batch:
    n = len(labels)
    return Batch(np.arange(n), [f"u{row}" for row in range(n)], [""] * n, labels=labels, vectors=vectors)


def test_closed_forms_are_the_gradients_of_autograd() -> None:
    weight = torch.tensor(DRAW.normal(size=(CLASSES, FEATURES)), requires_grad=True)
    bias = torch.tensor(DRAW.normal(size=CLASSES), requires_grad=True)
    exact, errors = [], []
    for row in range(N):
        logits = weight @ torch.tensor(HIDDEN[row], dtype=torch.float64) + bias
        logits.retain_grad()
        torch.nn.functional.cross_entropy(logits[None], torch.tensor([int(LABELS[row])])).backward()
        exact.append(float(torch.hypot(weight.grad.norm(), bias.grad.norm())))  # type: ignore[union-attr]
        errors.append(float(logits.grad.norm()))  # type: ignore[union-attr]
        weight.grad = bias.grad = None
    logits = (HIDDEN @ weight.detach().numpy().T + bias.detach().numpy()).astype(np.float32)
    batch = batch_of(LABELS, logits=logits, embedding=HIDDEN)
    np.testing.assert_allclose(Grand().checked(batch), exact, rtol=2e-6)
    np.testing.assert_allclose(El2n().checked(batch), errors, rtol=2e-6)


def test_margin_by_hand_and_runs_are_averaged() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], np.float32))
    batch = batch_of([0, 1], logits=logits, other=np.zeros((2, 3), np.float32))
    np.testing.assert_allclose(Margin().checked(batch), [0.5, -0.3], atol=1e-6)
    np.testing.assert_allclose(Margin(logits="logits+other").checked(batch), [0.25, -0.15], atol=1e-6)
    np.testing.assert_allclose(Margin(of="logits").checked(batch), np.log([3.5, 0.5]), atol=1e-6)
    assert Margin(logits="logits+other").identity() == {"variant": "saved logits, mean over 2 runs"}


def test_grand_of_several_runs_pairs_logits_and_features() -> None:
    batch = batch_of(LABELS, a=LOGITS, b=LOGITS[::-1], g=HIDDEN, h=2 * HIDDEN)
    alone = [Grand(logits=z, features=h).checked(batch).astype(np.float64) for z, h in (("a", "g"), ("b", "h"))]
    np.testing.assert_allclose(Grand(logits="a+b", features="g+h").checked(batch), sum(alone) / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="grand wants features for each of 'a\\+b', got 'g'"):
        Grand(logits="a+b", features="g").check()


def confident_learning(p: np.ndarray, labels: list[int]) -> tuple[list[bool], list[int]]:
    """Counted as the paper does, a row at a time."""
    classes = p.shape[1]
    of_class = [[p[row, j] for row in range(len(p)) if labels[row] == j] for j in range(classes)]
    thresholds = [sum(own) / len(own) if own else np.inf for own in of_class]
    errors, found = [], []
    for row in range(len(p)):
        confident = [j for j in range(classes) if p[row, j] >= thresholds[j] - 1e-6]
        j = max(confident, key=lambda j: (p[row, j], -j)) if confident else -1
        found.append(j)
        errors.append(j not in (-1, labels[row]) and p[row].max() > p[row, labels[row]])
    return errors, found


@pytest.mark.parametrize("rank", ["normalized_margin", "self_confidence"])
def test_label_errors_are_those_off_the_diagonal(rank: str) -> None:
    draw = np.random.default_rng(4)
    truth = draw.integers(0, 3, 300)
    labels = np.where(draw.random(300) < 0.15, (truth + 1) % 3, truth).tolist()
    logits = (2.5 * np.eye(4)[truth] + draw.normal(size=(300, 4))).astype(np.float32)
    # nobody has the last class
    scorer, batch = LabelError(rank=rank), batch_of(labels, logits=logits)  # type: ignore[arg-type]
    state = scorer.fit([batch])
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    errors, found = confident_learning(p, labels)
    scores = scorer.checked(batch, state)
    assert 20 < sum(errors) < 80
    assert (scores < 0).tolist() == errors
    assert scorer.details(batch, state)["suggested"].tolist() == found
    own = p[np.arange(300), labels]
    others = np.where(np.eye(4, dtype=bool)[labels], 0, p).max(1)
    quality = own if rank == "self_confidence" else (own - others + 1) / 2
    np.testing.assert_allclose(scores, quality - errors, atol=1e-6)
    halves = [batch_of(labels[:100], logits=logits[:100]), batch_of(labels[100:], logits=logits[100:])]
    np.testing.assert_array_equal(scorer.fit(halves[::-1])["thresholds"], state["thresholds"])


def test_confident_is_what_reaches_the_own_class_mean() -> None:
    # thresholds .94, .33 and .75: of the last two rows neither reaches that of class 0, both reach that of class 1
    sure = [[0.98, 0.01, 0.01]] * 9 + [[0.35, 0.33, 0.32]] * 3 + [[0.05, 0.05, 0.9]] * 4
    p = np.array([*sure, [0.6, 0.35, 0.05], [0.5, 0.35, 0.15]], np.float32)
    batch = batch_of([0] * 9 + [1] * 3 + [2] * 4 + [0, 2], logits=np.log(p))
    state = LabelError().fit([batch])
    np.testing.assert_allclose(state["thresholds"], [(0.98 * 9 + 0.6) / 10, 0.33, (0.9 * 4 + 0.15) / 5], atol=1e-6)
    scores = LabelError().checked(batch, state)
    assert LabelError().details(batch, state)["suggested"].tolist() == [0] * 9 + [1] * 3 + [2] * 4 + [1, 1]
    # the first of them is confidently 1 and still more 0, its label
    assert (scores < 0).tolist() == [False] * 17 + [True]
    np.testing.assert_allclose(scores[-2:], [(0.6 - 0.35 + 1) / 2, (0.15 - 0.5 + 1) / 2 - 1], atol=1e-6)


def test_label_errors_leave_with_their_default_rule(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": f"t{i}", "y": "no" if i == 7 else "yes", "logits": [0.0, 3.0]} for i in range(8)
    ] + [{"text": f"n{i}", "y": "no", "logits": [2.0, 0.0]} for i in range(8)]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), label="y")
    table = score(source, "label_error", tmp_path / "t")
    assert table.read("label_error", "suggested").to_pylist() == [1] * 8 + [0] * 8
    kept = select(table, LabelError.default_selector, by="label_error")
    assert kept.dropped.tolist() == [7]
    assert table.manifest["columns"]["label_error"]["identity"] == {"variant": "saved logits"}


def test_names_of_classes_are_learned_given_or_read(tmp_path: Path) -> None:
    names = ["cat", "dog", "eel", "ant"]
    labels: list[str | int] = [names[int(label)] for label in LABELS]
    by_number = El2n().checked(batch_of(LABELS, logits=LOGITS))
    named = batch_of(labels, logits=LOGITS)
    given = El2n(classes=tuple(names))
    np.testing.assert_array_equal(given.checked(named, given.fit([named])), by_number)
    # sorted: ant, cat, dog, eel
    ordered = batch_of(labels, logits=LOGITS[:, [3, 0, 1, 2]])
    halves = [batch_of(labels[:5], logits=LOGITS[:5]), batch_of(labels[5:], logits=LOGITS[5:])]
    np.testing.assert_allclose(El2n().checked(ordered, El2n().fit(halves)), by_number, rtol=1e-6)
    (tmp_path / "classes.txt").write_text("cat\ndog\neel\nant\n")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps({"id2label": dict(enumerate(names))}))
    for place in (tmp_path / "classes.txt", tmp_path / "m"):
        np.testing.assert_array_equal(El2n(class_list=str(place)).checked(named), by_number)


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        (("a", "b", "c", "d"), ["x", "a"], "el2n: want one of a, b, c, d as label, got 'x' for uid 'u0'"),
        (("a", "b"), ["a", "b"], "labels name 2 classes, there are 4 logits: want el2n.classes"),
        ((), ["a", "b"], "labels name 2 classes, there are 4 logits: want el2n.classes"),
        ((), ["a", 1, "b", "c", "d"], "want one of a, b, c, d as label, got 1 for uid 'u1'"),
        ((), [1, "a"], "labels name 1 classes, there are 4 logits: want el2n.classes"),
    ],
)
def test_labels_that_have_no_logit_are_refused(classes: tuple[str, ...], labels: list[str | int], message: str) -> None:
    batch = batch_of(labels, logits=LOGITS[: len(labels)])
    scorer = El2n(classes=classes)
    with pytest.raises(ValueError, match=message):
        scorer.score(batch, scorer.fit([batch]))


def test_fields_are_refused(tmp_path: Path) -> None:
    for wrong, message in (
        (El2n(classes=("a", "a")), "el2n.classes wants each class once"),
        (El2n(class_list="none"), "want a file with a class a line, or a checkpoint's folder, got 'none'"),
        (El2n(class_list="none", classes=("a", "b")), "el2n wants classes or a class_list, got both"),
        (El2n(ensemble=str(tmp_path)), "want runs of an ensemble"),
        (Margin(of="x"), "margin.of wants"),  # type: ignore[arg-type]
        (LabelError(rank="x"), "label_error.rank wants"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=message):
            wrong.check()


def linear(source: Source, seed: int) -> Callable[[Batch], Predictions]:
    """Untrained, with weights of its seed."""
    weight = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(seed))

    def predict(batch: Batch) -> Predictions:
        x = torch.tensor([[len(text), text.count("a"), text.count("b"), 1.0] for text in batch.texts])
        return Predictions(x @ weight, x)

    return predict


def test_an_ensemble_is_scored_by_its_mean_and_goes_on(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": "ab" * (i % 5) + "b" * i, "y": i % CLASSES} for i in range(20)]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), label="y", chunk_rows=6)
    calls: list[int] = []

    def train(source: Source, seed: int) -> Callable[[Batch], Predictions]:
        calls.append(seed)
        if seed == 2 and len(calls) == 3:
            raise KeyboardInterrupt
        return linear(source, seed)

    with pytest.raises(KeyboardInterrupt):
        train_ensemble(train, source, [0, 1, 2], tmp_path / "runs")
    ensemble = train_ensemble(train, source, [0, 1, 2], tmp_path / "runs")
    assert calls == [0, 1, 2, 2]
    assert ensemble.variant.endswith("train, mean over seeds 0, 1, 2")
    table = score(source, [f"el2n:ensemble={tmp_path}/runs", f"grand:ensemble={tmp_path}/runs"], tmp_path / "t")
    runs = []
    for seed in range(3):
        texts = Batch(np.arange(20), [""] * 20, [str(row["text"]) for row in rows])
        made = linear(source, seed)(texts)
        arrays = {"logits": made.logits.numpy(), "embedding": made.features.numpy()}
        runs.append(batch_of([i % CLASSES for i in range(20)], **arrays))
    for name, scorer in (("el2n", El2n()), ("grand", Grand())):
        mean = np.mean([scorer.checked(run).astype(np.float64) for run in runs], 0)
        np.testing.assert_allclose(table.scores(name), mean, rtol=1e-6)
    identity = table.manifest["columns"]["el2n"]["identity"]
    assert "seeds 0, 1, 2" in identity["variant"]
    # another run is another column
    train_ensemble(linear, source, [3], tmp_path / "runs")
    with pytest.raises(ValueError, match="has a column 'el2n' with identity"):
        score(source, f"el2n:ensemble={tmp_path}/runs", tmp_path / "t")


def test_predictions_that_cannot_be_are_refused(tmp_path: Path) -> None:
    source = Source({"text": ["a", "b"], "y": [0, 1]}, label="y")
    for made in (torch.zeros(3, 2), torch.full((2, 2), torch.nan), torch.zeros(2)):
        with pytest.raises(ValueError, match=r"want finite logits \[2, d\]"):
            train_ensemble(lambda *_, made=made: lambda batch: made, source, [0], tmp_path / "r")  # type: ignore[misc]
    for seeds in ([], [1, 1], [-1]):
        with pytest.raises(ValueError, match="want seeds"):
            train_ensemble(linear, source, seeds, tmp_path / "r")  # type: ignore[arg-type]
    train_ensemble(lambda *_: lambda batch: torch.zeros(len(batch), 2), source, [0], tmp_path / "r")  # type: ignore[arg-type]
    other = Source({"text": ["a", "c"], "y": [0, 1]}, label="y")
    with pytest.raises(ValueError, match="seed 0 has no prediction for uid"):
        score(other, f"el2n:ensemble={tmp_path}/r", tmp_path / "t")
