"""Scores of training dynamics: by hand, against whole traces, and the defects that published codes have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner import Source, score, select
from datapruner.scoring.scorer import Batch, Scorer
from datapruner.scoring.scorer_columns import SCORERS
from datapruner.training.recorder import DynamicsRecorder
from datapruner.training.running_record import RecordSettings
from datapruner.training.threshold_class import threshold_cut, threshold_rows
from prunekernels import spec
from tests.datapruner.conftest import write_jsonl

RIGHT, WRONG = [0.0, 2.0], [2.0, 0.0]


def batch_of(uids: list[str]) -> Batch:
    return Batch(np.arange(len(uids)), uids, [""] * len(uids))


def scores(text: str, uids: list[str]) -> np.ndarray:
    scorer = spec.build(SCORERS, text, Scorer)
    scorer.check()
    return scorer.checked(batch_of(uids))


def record(path: Path, traces: dict[str, list[list[float]]], **settings: object) -> Path:
    """Logits of each uid, a list a presentation; every label is 1."""
    recorder = DynamicsRecorder(RecordSettings(**settings))  # type: ignore[arg-type]
    for logits in zip(*traces.values(), strict=True):
        recorder.log([*traces], torch.tensor(logits), torch.ones(len(traces), dtype=torch.int64))
    recorder.save(path)
    return path


def test_forgetting_counts_transitions_and_the_never_learned(tmp_path: Path) -> None:
    traces = {
        "easy": [WRONG, RIGHT, RIGHT, RIGHT, RIGHT],
        "forgotten": [RIGHT, WRONG, RIGHT, WRONG, WRONG],
        "never": [WRONG] * 5,
    }
    first = record(tmp_path / "runs_a.safetensors", traces, window=3)
    assert scores(f"forgetting:record={first}", [*traces]).tolist() == [0, 2, 5]
    # a set that drops the hardest third drops what was never learned, and not first of all what was
    ranked = np.argsort(scores(f"forgetting:record={first}", [*traces]))
    assert [[*traces][row] for row in ranked] == ["easy", "forgotten", "never"]
    folder = tmp_path / "runs"
    folder.mkdir()
    record(folder / "a.safetensors", traces, window=3)
    record(folder / "b.safetensors", {**traces, "never": [RIGHT, WRONG, WRONG, WRONG, WRONG]}, window=3)
    # trainings are summed; never learned in one of them is no infinity
    assert scores(f"forgetting:record={folder}", [*traces]).tolist() == [0, 4, 6]


def test_aum_is_the_mean_margin_of_raw_logits(tmp_path: Path) -> None:
    path = record(tmp_path / "r.safetensors", {"a": [[0, 3, 1], [1, 0, 4], [9, 9, 9]], "b": [[0, 5, 0]] * 3}, window=3)
    np.testing.assert_allclose(scores(f"aum:record={path}", ["b", "a"]), [5, (2 - 4 + 0) / 3], rtol=1e-6)


def test_el2n_of_dynamics_sums_the_early_presentations(tmp_path: Path) -> None:
    path = record(tmp_path / "r.safetensors", {"a": [[0, 0], [0, 0], [50, 0], [0, 50]]}, window=3, early=3)
    # sqrt(1/4 + 1/4) twice, then as wrong as can be, and no more
    assert scores(f"el2n_dynamics:record={path}", ["a"])[0] == pytest.approx(2 * 0.5**0.5 + 2**0.5, rel=1e-6)


def softmax_rows(p: list[float]) -> list[list[float]]:
    return [[float(np.log(1 - value)), float(np.log(value))] for value in p]


def test_dual_by_hand(tmp_path: Path) -> None:
    p = {"steady": [0.2] * 4, "wavers": [0.1, 0.5, 0.9, 0.1], "learned": [0.9, 0.95, 0.99, 0.95]}
    path = record(tmp_path / "r.safetensors", {uid: softmax_rows(row) for uid, row in p.items()}, window=3)
    found = scores(f"dual:record={path}", [*p])
    # windows (.1 .5 .9) and (.5 .9 .1), both with mean .5 and variance .32 / 2
    assert found[1] == pytest.approx(0.4 * 0.5, rel=1e-5)
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] > found[2] > 0
    mean = spec.build(SCORERS, f"dual:record={path}", Scorer).details(batch_of([*p]))["mean"]
    assert mean.tolist() == pytest.approx([0.2, 0.4, 0.9475], rel=1e-5)


def test_tdds_windows_move(tmp_path: Path) -> None:
    early = softmax_rows([0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1])
    late = softmax_rows([0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1])
    path = record(tmp_path / "r.safetensors", {"early": early, "late": late}, window=4)
    found = scores(f"tdds:record={path}", ["early", "late"])
    # what reads the first window alone would say the opposite
    assert found[1] > 10 * found[0] > 0
    up, down = 0.8 * np.log(9), 0.8 * np.log(9)
    window = np.array([0, up, down])
    exact = 0.9 * np.linalg.norm(window - window.mean()) + 0.09 * np.linalg.norm(np.array([0, 0, up]) - up / 3)
    assert found[1] == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dual", "dual wants at least 4 presentations of a row, got 3 of uid 'a'"),
        ("tdds", "tdds wants at least 4 presentations of a row, got 3 of uid 'a'"),
        ("el2n_dynamics", "el2n_dynamics wants at least 10 presentations"),
    ],
)
def test_rows_without_a_whole_window_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = record(tmp_path / "r.safetensors", {"a": [RIGHT] * 3}, window=4)
    with pytest.raises(ValueError, match=message):
        scores(f"{text}:record={path}", ["a"])


def test_records_are_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "r.safetensors", {"a": [RIGHT] * 4}, window=4, with_divergences=False)
    with pytest.raises(ValueError, match="tdds wants a record with_divergences=True"):
        scores(f"tdds:record={path}", ["a"])
    with pytest.raises(ValueError, match="want a record of every row, got none of uid 'b'"):
        scores(f"aum:record={path}", ["a", "b"])
    with pytest.raises(ValueError, match=r"aum\.record wants a record"):
        scores(f"aum:record={tmp_path}/none", ["a"])
    (tmp_path / "other.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(ValueError, match="want safetensors with a checksum"):
        scores(f"aum:record={tmp_path}/other.safetensors", ["a"])


def test_a_table_of_them_in_one_call(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": f"t{i}", "id": f"r{i}"} for i in range(6)]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), uid="id")
    traces = {f"r{i}": [RIGHT if (i + t) % (i + 2) else WRONG for t in range(12)] for i in range(6)}
    path = record(tmp_path / "r.safetensors", traces)
    names = ["forgetting", "aum", "el2n_dynamics", "dual", "tdds"]
    table = score(source, [f"{name}:record={path}" for name in names], tmp_path / "t")
    assert table.score_columns == sorted(names)
    kept = select(table, "top", by="forgetting", keep_ratio=0.5)
    assert kept.n_kept == 3
    # another record is another column
    record(path, {**traces, "r0": [WRONG] * 12})
    with pytest.raises(ValueError, match="has a column 'aum' with identity"):
        score(source, f"aum:record={path}", tmp_path / "t")


def test_the_threshold_class(tmp_path: Path) -> None:
    uids = [f"u{i}" for i in range(100)]
    fake = threshold_rows(uids, classes=9, seed=1)
    assert len(fake) == 10
    assert set(threshold_rows(uids[::-1], classes=9, seed=1)) == set(fake)
    assert set(threshold_rows(uids, classes=9, seed=2)) != set(fake)
    margins = {uid: [[0.0, float(place)]] * 3 for place, uid in enumerate(fake)}
    path = record(tmp_path / "r.safetensors", {**margins, "real": [[0.0, 99.0]] * 3}, window=3)
    # ten margins 0 ... 9: 99 % lies at 8.91
    assert threshold_cut(path, fake) == pytest.approx(8.91)
    with pytest.raises(ValueError, match="at least one threshold row"):
        threshold_cut(path, [])
