"""The recorder of training dynamics as a callback of transformers' Trainer.

    dataset = dataset.add_column("uid_key", uid_keys(uids))
    recorder = DynamicsRecorder()
    args = TrainingArguments(..., remove_unused_columns=False)
    Trainer(model, args, train_dataset=dataset, callbacks=[RecordDynamics(recorder, "dynamics.safetensors")]).train()

The key of a row travels with it through sampler, workers and accumulation, and is taken out before the model sees it;
logits are those of the training pass itself, so that nothing is computed twice. Each checkpoint gets a copy of the
record, and a training that goes on from one goes on with it: what came behind the checkpoint and is trained again is
not counted twice. Labels that the Trainer keeps from the model, as its label smoothing does, must be given back:
`labels` names where they are among the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from datapruner.training.recorder import DynamicsRecorder

IN_CHECKPOINT = "dynamics.safetensors"


@dataclass(eq=False)
class RecordDynamics(TrainerCallback):
    """Logs every training pass of the model into `recorder`, which is saved as `out` in the end.

    `key`: the column with the rows' keys. `labels`: the one with their labels. `logits`: where the model's output has
    its logits, [n, C].
    """

    recorder: DynamicsRecorder
    out: str | Path | None = None
    key: str = "uid_key"
    labels: str = "labels"
    logits: str = "logits"
    _batch: tuple[torch.Tensor, torch.Tensor] | None = field(default=None, init=False, repr=False)
    _hooks: list[RemovableHandle] = field(default_factory=list, init=False, repr=False)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Go on from the checkpoint's record, and listen to the model."""
        if state.global_step != self.recorder.step:
            self._restore(args, state.global_step)
        model = _model_of(kwargs)
        self._remove_hooks()
        self._hooks = [
            model.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True),
            model.register_forward_hook(self._behind),
        ]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Where the trainer stands."""
        self.recorder.step = state.global_step

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Bring all processes' rows together."""
        self.recorder.gather()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """A copy of the record beside the checkpoint."""
        self.recorder.gather()
        if state.is_world_process_zero:
            self.recorder.save(_checkpoint(args, state.global_step) / IN_CHECKPOINT)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Leave the model as it was, and write the record."""
        self._remove_hooks()
        self.recorder.gather()
        if self.out is not None and state.is_world_process_zero:
            self.recorder.save(self.out)

    def _restore(self, args: TrainingArguments, step: int) -> None:
        file = _checkpoint(args, step) / IN_CHECKPOINT
        if not step or not file.is_file():
            raise ValueError(
                f"the training is at step {step}, its record at step {self.recorder.step}: want the record of the same "
                f"step, as in DynamicsRecorder.load(checkpoint / {IN_CHECKPOINT!r}), or a new one for a new training"
            )
        found = DynamicsRecorder.load(file)
        if found.record.settings != self.recorder.record.settings:
            raise ValueError(f"{file} was recorded with {found.record.settings}, want {self.recorder.record.settings}")
        self.recorder.record, self.recorder.step = found.record, found.step

    def _before(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        keys, labels = kwargs.pop(self.key, None), kwargs.get(self.labels)
        self._batch = None
        if module.training:
            self._batch = _tensor(self.key, keys), _tensor(self.labels, labels)
        return args, kwargs

    def _behind(self, module: torch.nn.Module, args: tuple[object, ...], output: object) -> None:
        if self._batch is not None:
            logits = output.get(self.logits) if isinstance(output, Mapping) else getattr(output, self.logits, None)
            if not isinstance(logits, torch.Tensor):
                raise ValueError(f"want {self.logits!r} in the model's output, got {type(output).__name__}")
            (keys, labels), self._batch = self._batch, None
            self.recorder.log_keys(keys, logits, labels.reshape(-1))

    def _remove_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def _tensor(name: str, value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise ValueError(
            f"want {name!r} in each batch that the model gets: a column of that name, remove_unused_columns=False, "
            "and no loss that keeps labels from the model"
        )
    return value


def _checkpoint(args: TrainingArguments, step: int) -> Path:
    return Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{step}"


def _model_of(kwargs: Mapping[str, object]) -> torch.nn.Module:
    model = kwargs.get("model")
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"want the trainer's model, got {type(model).__name__}")
    return model
