"""The recorder inside transformers' Trainer: shuffling, accumulation, evaluation, checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner.training.recorder import DynamicsRecorder
from datapruner.training.running_record import RecordSettings
from datapruner.training.trainer_recorder import RecordDynamics
from tests.datapruner.training.trainer_models import Rows, TinyClassifier, trainer

SETTINGS = RecordSettings(window=3)


def by_hand(model: TinyClassifier, rows: Rows) -> DynamicsRecorder:
    """What the model itself kept of its training passes, its rows known by their features."""
    recorder = DynamicsRecorder(SETTINGS)
    for x, logits in model.seen:
        at = [int((rows.x == row).all(1).nonzero()[0]) for row in x]
        recorder.log([rows.uids[place] for place in at], logits, rows.labels[at])
    return recorder


def same(a: DynamicsRecorder, b: DynamicsRecorder) -> None:
    keys = np.sort(a.record.slots.ordered_keys())
    assert (keys == np.sort(b.record.slots.ordered_keys())).all()
    for name, array in a.record.arrays().items():
        other = b.record.arrays()[name]
        np.testing.assert_array_equal(array[a.record.slots.find(keys)], other[b.record.slots.find(keys)], err_msg=name)


@pytest.mark.parametrize("accumulation", [1, 3])
def test_every_training_pass_is_recorded_once(accumulation: int, tmp_path: Path) -> None:
    rows, model, recorder = Rows(22), TinyClassifier(), DynamicsRecorder(SETTINGS)
    # rows of an evaluation need no key, and are not recorded
    trainer(
        model, rows, RecordDynamics(recorder, tmp_path / "r.safetensors"), tmp_path,
        gradient_accumulation_steps=accumulation, eval_strategy="epoch", eval_dataset=Rows(5, with_keys=False),
    ).train()  # fmt: skip
    assert recorder.record.arrays()["presentations"].tolist() == [4] * 22
    same(recorder, by_hand(model, rows))
    same(DynamicsRecorder.load(tmp_path / "r.safetensors"), recorder)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_a_resumed_training_counts_nothing_twice(tmp_path: Path) -> None:
    whole, rows = DynamicsRecorder(SETTINGS), Rows(22)
    trainer(TinyClassifier(), rows, RecordDynamics(whole), tmp_path / "whole").train()

    class Stop(RecordDynamics):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            super().on_step_end(args, state, control, **kwargs)
            # in the middle of the third epoch, a few steps behind the checkpoint
            control.should_training_stop = state.global_step == 16

    options = {"save_strategy": "steps", "save_steps": 13}
    trainer(TinyClassifier(), rows, Stop(DynamicsRecorder(SETTINGS)), tmp_path / "run", **options).train()
    again = DynamicsRecorder(SETTINGS)
    run = trainer(TinyClassifier(), rows, RecordDynamics(again), tmp_path / "run", **options)
    run.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-13"))
    assert again.record.arrays()["presentations"].tolist() == [4] * 22
    same(again, whole)
    (tmp_path / "run" / "checkpoint-13" / "dynamics.safetensors").unlink()
    run = trainer(TinyClassifier(), rows, RecordDynamics(again), tmp_path / "run", **options)
    with pytest.raises(ValueError, match=r"step 13, its record at step 24: want the record of the same step"):
        run.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-13"))


def test_a_batch_without_keys_or_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="want 'uid_key' in each batch"):
        trainer(TinyClassifier(), Rows(5, with_keys=False), RecordDynamics(DynamicsRecorder()), tmp_path).train()
    with pytest.raises(ValueError, match="want 'labels' in each batch"):
        trainer(
            TinyClassifier(), Rows(5), RecordDynamics(DynamicsRecorder()), tmp_path, compute_loss_func=print
        ).train()
    model = TinyClassifier()
    with pytest.raises(ValueError, match="want 'scores' in the model's output"):
        trainer(model, Rows(5), RecordDynamics(DynamicsRecorder(), logits="scores"), tmp_path).train()
    assert torch.isfinite(model.head.weight).all()
