"""What the proxy leaves for scorers: a record, logits of several trainings, and logits of trainings without the row."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner import Candidate, Evaluation, Rule, ScoreTable, evaluate
from datapruner.evaluation.observed import ProxyTraining
from datapruner.evaluation.proxy import PROXIES, LabelledTask, Proxy, Rows
from datapruner.evaluation.settings import Observe, Seeds
from datapruner.training.ensemble import Ensemble
from datapruner.training.recorder import DynamicsRecorder
from datapruner.training.uid_slots import uid_keys
from prunekernels import spec
from tests.datapruner.evaluation.conftest import blobs, candidates, source_of

N = 42


@pytest.fixture
def training() -> ProxyTraining:
    """Rows that have nothing in common, with labels by lot: what is answered right was learned by heart."""
    labels = np.random.default_rng(0).integers(0, 2, N)
    rows = Rows(
        [f"row{i}" for i in range(N)], labels=labels, classes=[0, 1], vectors={"x": np.eye(N, dtype=np.float32)}
    )
    proxy = spec.build(PROXIES, "linear_probe:vectors=x,batch_size=8,learning_rate=0.2,device=cpu", Proxy)
    task = proxy.task(rows, rows)
    assert isinstance(task, LabelledTask)
    return ProxyTraining(task, uid_keys(rows.uids).view(np.uint64), proxy.rate, 8)


def right(training: ProxyTraining, seed: int) -> np.ndarray:
    return training.answers(seed)[0].argmax(1) == training.task.labels.numpy()


def test_a_row_is_answered_by_trainings_that_did_not_see_it(training: ProxyTraining) -> None:
    assert right(training, 0).all()
    held_out = dataclasses.replace(training, is_held_out=True)
    assert right(held_out, 0).mean() < 0.8
    logits = held_out.answers(0)[0]
    assert np.isfinite(logits).all()
    assert np.array_equal(logits, held_out.answers(0)[0])


def test_every_row_is_recorded_once_an_epoch(training: ProxyTraining, tmp_path: Path) -> None:
    training.record(tmp_path / "record.safetensors", 3)
    recorder = DynamicsRecorder.load(tmp_path / "record.safetensors")
    arrays = recorder.record.arrays()
    assert arrays["presentations"].tolist() == [8] * N
    places = recorder.record.slots.find(training.keys)
    assert arrays["label"][places].tolist() == training.task.labels.tolist()


def test_scorers_that_name_no_file_get_what_they_read(small: Evaluation, tmp_path: Path) -> None:
    rows = blobs(120, 1)
    labels = [*rows["label"]]  # type: ignore[misc]
    right_label = labels[5]
    labels[5] = next(name for name in sorted(set(labels)) if name != right_label)
    settings = dataclasses.replace(
        small, source=source_of(rows | {"label": labels}), baselines=(), keep_ratios=(0.5,), steps=4, checks=1,
        candidates=candidates("top", by="label_error"), seeds=Seeds(2), observe=Observe(epochs=10, early=1, runs=2),
        scorers=("label_error", "el2n", "grand", "aum", "dual"), proxy=f"{small.proxy},learning_rate=0.05",
    )  # fmt: skip
    evaluate(settings, tmp_path / "out")
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made >= {"ensemble-0", "held_out-0", "record-0.safetensors", "costs-0.json", "scores-0"}
    assert [*Ensemble(tmp_path / "out" / "ensemble-0").runs] == [0, 1]
    table = ScoreTable(tmp_path / "out" / "scores-0")
    # the wrong label is among the least sure of all
    assert (table.scores("label_error") <= table.scores("label_error")[5]).sum() <= 6
    assert (table.scores("aum") <= table.scores("aum")[5]).sum() <= 6
    assert table.scores("grand").min() >= 0
    costs = json.loads((tmp_path / "out" / "costs-0.json").read_text("utf-8"))
    assert {"ensemble", "held_out", "record", "column el2n", "column aum"} <= costs.keys()


def test_a_scorer_that_names_a_file_keeps_it_and_others_want_a_classifier(small: Evaluation, tmp_path: Path) -> None:
    six = {"source": source_of(blobs(120, 1, classes=6)), "test": source_of(blobs(90, 2, classes=6))}
    named = dataclasses.replace(small, **six, scorers=("el2n:logits=features",), baselines=(), keep_ratios=(0.5,))
    evaluate(named, tmp_path / "out")
    assert not [*(tmp_path / "out").glob("ensemble*")]
    texts = dataclasses.replace(
        small, proxy="language_model:width=8,layers=1,window=8,device=cpu", scorers=("aum",),
        candidates=(Candidate("x", (Rule("top", "aum"),)),),
        source=dataclasses.replace(source_of(blobs(20, 1) | {"text": ["some"] * 20}), text="text"),
        test=dataclasses.replace(source_of(blobs(9, 2) | {"text": ["more"] * 9}), text="text"),
    )  # fmt: skip
    with pytest.raises(ValueError, match="aum reads what a classifier leaves"):
        evaluate(texts, tmp_path / "texts")


def test_draws_of_the_caller_stay_as_they_were(training: ProxyTraining) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    training.answers(0)
    assert torch.equal(before, torch.get_rng_state())
