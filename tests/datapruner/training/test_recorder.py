"""The recorder of training dynamics: by hand, against whole traces, and under every order in which rows may come."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner.training.merge_records import merge_records
from datapruner.training.record_file import Record
from datapruner.training.recorder import DynamicsRecorder
from datapruner.training.running_record import BETA, RecordSettings
from datapruner.training.uid_slots import UidSlots, uid_keys

ROWS, CLASSES, EPOCHS = 40, 5, 12


@pytest.fixture(scope="module")
def traces() -> tuple[np.ndarray, np.ndarray]:
    """Logits [epochs, rows, classes] that learn slowly, and labels [rows]."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, ROWS)
    ease = draw.uniform(-0.3, 0.7, ROWS)[:, None] * np.eye(CLASSES)[labels]
    steps = np.arange(EPOCHS)[:, None, None] * ease + draw.normal(size=(EPOCHS, ROWS, CLASSES))
    return steps.astype(np.float32), labels


def recorded(
    traces: tuple[np.ndarray, np.ndarray], settings: RecordSettings, batch: int, seed: int | None
) -> DynamicsRecorder:
    logits, labels = traces
    recorder = DynamicsRecorder(settings)
    draw = np.random.default_rng(seed)
    for epoch in range(EPOCHS):
        order = np.arange(ROWS) if seed is None else draw.permutation(ROWS)
        for first in range(0, ROWS, batch):
            rows = order[first : first + batch]
            recorder.log([f"u{row}" for row in rows], torch.tensor(logits[epoch, rows]), torch.tensor(labels[rows]))
    return recorder


def columns(recorder: DynamicsRecorder) -> dict[str, np.ndarray]:
    """By row u0, u1, ..."""
    at = recorder.record.slots.find(uid_keys([f"u{row}" for row in range(ROWS)]).view(np.uint64))
    return {name: array[at] for name, array in recorder.record.arrays().items()}


def slow(logits: np.ndarray, label: int, window: int, early: int) -> dict[str, float]:
    """One row from its whole trace [epochs, classes], as the papers write it."""
    z = logits.astype(np.float64)
    q = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    correct = [int(row.argmax()) == label for row in z]
    margins = [row[label] - max(value for c, value in enumerate(row) if c != label) for row in z]
    errors = [np.linalg.norm(row - np.eye(CLASSES)[label]) for row in q]
    dual, tdds = 0.0, 0.0
    for first in range(len(z) - window + 1):
        inside = q[first : first + window]
        p = inside[:, label]
        dual += np.sqrt(((p - p.mean()) ** 2).sum() / (window - 1)) * (1 - p.mean())
        kl = np.array([(new * np.log(new / old)).sum() for old, new in zip(inside, inside[1:], strict=False)])
        steps = len(z) - window - first
        tdds += BETA * (1 - BETA) ** steps * np.sqrt(((kl - kl.mean()) ** 2).sum())
    return {
        "presentations": len(z),
        "forgettings": sum(a and not b for a, b in zip(correct, correct[1:], strict=False)),
        "learned": any(correct),
        "margin_sum": sum(margins),
        "el2n_sum": sum(errors),
        "early_el2n_sum": sum(errors[:early]),
        "nll_sum": -np.log(q[:, label]).sum(),
        "p_label_sum": q[:, label].sum(),
        "dual_sum": dual,
        "tdds": tdds,
    }


@pytest.mark.parametrize("window", [3, 5, 12])
def test_running_numbers_are_those_of_whole_traces(traces: tuple[np.ndarray, np.ndarray], window: int) -> None:
    found = columns(recorded(traces, RecordSettings(window=window, early=4), 7, seed=1))
    for row in range(ROWS):
        wanted = slow(traces[0][:, row], int(traces[1][row]), window, 4)
        for name, value in wanted.items():
            assert found[name][row] == pytest.approx(value, rel=2e-4, abs=2e-6), (name, row)


def test_forgetting_by_hand() -> None:
    recorder = DynamicsRecorder(RecordSettings(window=3))
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    for logits in (wrong, right, right, wrong, right, wrong, wrong):
        recorder.log(["learned", "never"], torch.tensor([logits, wrong]), torch.tensor([1, 1]))
    arrays = recorder.record.arrays()
    assert arrays["forgettings"].tolist() == [2, 0]
    assert arrays["learned"].tolist() == [True, False]
    # z_y minus the largest other: 3 times 1, 4 times -1
    assert arrays["margin_sum"].tolist() == [-1.0, -7.0]


def test_order_and_batches_change_nothing(traces: tuple[np.ndarray, np.ndarray]) -> None:
    whole = columns(recorded(traces, RecordSettings(window=4), ROWS, seed=None))
    for batch, seed in ((1, None), (7, 2), (16, 3)):
        other = columns(recorded(traces, RecordSettings(window=4), batch, seed))
        for name, array in whole.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_a_row_twice_in_a_batch_is_presented_twice(traces: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = torch.tensor(traces[0]), torch.tensor(traces[1])
    apart, together = DynamicsRecorder(RecordSettings(window=3)), DynamicsRecorder(RecordSettings(window=3))
    for epoch in range(4):
        apart.log(["a", "b"], logits[epoch, :2], labels[:2])
    a, b = logits[:4, 0], logits[:4, 1]
    mixed = torch.stack([a[0], b[0], a[1], a[2], b[1], b[2], b[3], a[3]])
    together.log([*"abaabbba"], mixed, labels[[0, 1, 0, 0, 1, 1, 1, 0]])
    for name, array in apart.record.arrays().items():
        np.testing.assert_array_equal(array, together.record.arrays()[name], err_msg=name)


def test_it_goes_on_where_a_file_stopped(traces: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    logits, labels = traces
    whole = recorded(traces, RecordSettings(window=4), ROWS, seed=None)
    begun = DynamicsRecorder(RecordSettings(window=4))
    uids = [f"u{row}" for row in range(ROWS)]
    for epoch in range(5):
        begun.log(uids, torch.tensor(logits[epoch]), torch.tensor(labels))
    begun.step = 17
    begun.save(tmp_path / "r.safetensors")
    begun = DynamicsRecorder.load(tmp_path / "r.safetensors")
    assert begun.step == 17
    for epoch in range(5, EPOCHS):
        begun.log(uids, torch.tensor(logits[epoch]), torch.tensor(labels))
    for name, array in columns(whole).items():
        np.testing.assert_array_equal(array, columns(begun)[name], err_msg=name)
    np.testing.assert_array_equal(whole.record.counts, begun.record.counts)
    whole.step = 17
    whole.save(tmp_path / "a.safetensors")
    begun.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_records_of_different_rows_are_merged(traces: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    logits, labels = traces
    recorded(traces, RecordSettings(window=4), ROWS, None).save(tmp_path / "whole.safetensors")
    for name, rows in (("a", range(0, 25)), ("b", range(25, ROWS)), ("c", range(20, ROWS))):
        recorder = DynamicsRecorder(RecordSettings(window=4))
        for epoch in range(EPOCHS):
            recorder.log([f"u{row}" for row in rows], torch.tensor(logits[epoch, rows]), torch.tensor(labels[rows]))
        recorder.save(tmp_path / f"{name}.safetensors")
    a, b, c = (tmp_path / f"{name}.safetensors" for name in "abc")
    merge_records([b, a], tmp_path / "merged.safetensors")
    assert (tmp_path / "merged.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    with pytest.raises(ValueError, match="want records of different rows, got 5 that several"):
        merge_records([a, c], tmp_path / "merged.safetensors")
    recorded(traces, RecordSettings(window=5), ROWS, None).save(c)
    with pytest.raises(ValueError, match="want RecordSettings\\(window=4"):
        merge_records([a, c], tmp_path / "merged.safetensors")


def test_memory_does_not_grow_with_epochs(traces: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    recorder = DynamicsRecorder(RecordSettings(window=3))
    sizes, uids = [], [f"u{row}" for row in range(ROWS)]
    for epoch in range(30):
        recorder.log(uids, torch.tensor(traces[0][epoch % EPOCHS]), torch.tensor(traces[1]))
        recorder.save(tmp_path / "r.safetensors")
        sizes.append((tmp_path / "r.safetensors").stat().st_size)
    # 4 counts of transitions an epoch, and nothing a row
    assert sizes[-1] - sizes[1] < 29 * 64


def noisy_loader(recorder: DynamicsRecorder, by_position: bool) -> None:
    """Six epochs over 600 rows of two classes, half of them hard; labels of a place agree with each other."""
    draw = np.random.default_rng(5)
    hard = np.arange(600) % 2 == 0
    for epoch in range(6):
        order = draw.permutation(600)
        is_wrong = draw.random(600) < np.where(hard, 0.8, 0.1)[order] / (1 + epoch / 4)
        logits = torch.tensor(np.where(is_wrong, -1.0, 1.0))[:, None] * torch.tensor([[-1.0, 1.0]])
        uids = range(600) if by_position else order.tolist()
        recorder.log([*uids], logits, torch.ones(600, dtype=torch.int64))


def test_positions_of_a_loader_are_noticed(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_row = DynamicsRecorder()
        noisy_loader(by_row, by_position=False)
        by_row.save(tmp_path / "rows.safetensors")
    by_place = DynamicsRecorder()
    noisy_loader(by_place, by_position=True)
    with pytest.warns(UserWarning, match="loader's positions and not the rows"):
        by_place.save(tmp_path / "places.safetensors")
    labels = DynamicsRecorder()
    for epoch in range(3):
        labels.log(["a", "b"], torch.eye(2), torch.tensor([epoch % 2, 1]))
    assert "another label" in str(labels.position_doubt())


def test_slots_are_found_again_in_any_order() -> None:
    draw, slots, seen = np.random.default_rng(3), UidSlots(), {}
    for _ in range(60):
        keys = draw.choice(500, size=draw.integers(1, 40), replace=False).astype(np.uint64)
        for key, slot in zip(keys.tolist(), slots.find_or_add(keys).tolist(), strict=True):
            assert seen.setdefault(key, slot) == slot
    assert sorted(seen.values()) == [*range(slots.count)]
    assert [seen[int(key)] for key in slots.ordered_keys()] == [*range(slots.count)]
    assert slots.find(np.array([501], np.uint64)).tolist() == [-1]


def test_a_changed_byte_is_found(traces: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "r.safetensors"
    recorded(traces, RecordSettings(window=4), ROWS, None).save(path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not those that were written"):
        _ = Record(path).arrays


def test_refuses() -> None:
    recorder, labels = DynamicsRecorder(), torch.tensor([0, 1])
    for logits, message in (
        (torch.zeros(2, 1), "C of at least 2"),
        (torch.zeros(2, 3, 4), "C of at least 2"),
        (torch.zeros(3, 3), "got 2"),
        (torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]), "row 1 of the batch"),
    ):
        with pytest.raises(ValueError, match=message):
            recorder.log(["a", "b"], logits, labels)
    with pytest.raises(ValueError, match=r"label in \[0, 2\), got -100"):
        recorder.log(["a", "b"], torch.zeros(2, 2), torch.tensor([0, -100]))
    recorder.log(["a", "b"], torch.zeros(2, 2), labels)
    with pytest.raises(ValueError, match="of 2 classes as before, got 3"):
        recorder.log(["a", "b"], torch.zeros(2, 3), labels)
    with pytest.raises(ValueError, match="window of at least 3"):
        RecordSettings(window=2)
