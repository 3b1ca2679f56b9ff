"""A classifier of a few hundred parameters for transformers' Trainer, and rows for it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput

from datapruner.training.uid_slots import uid_keys

FEATURES, CLASSES = 6, 3


class TinyClassifier(torch.nn.Module):
    """One hidden layer; keeps a copy of the logits of every training pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden = torch.nn.Linear(FEATURES, 8)
        self.head = torch.nn.Linear(8, CLASSES)
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> SequenceClassifierOutput:
        logits = self.head(self.hidden(x).tanh())
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        if self.training:
            self.seen.append((x.detach().clone(), logits.detach().clone()))
        return SequenceClassifierOutput(loss=loss, logits=logits)


class Rows(Dataset):
    """`n` rows of random features whose classes can be learned; each knows its key."""

    def __init__(self, n: int, with_keys: bool = True) -> None:
        draw = torch.Generator().manual_seed(1)
        self.labels = torch.randint(0, CLASSES, (n,), generator=draw)
        self.x = torch.randn(n, FEATURES, generator=draw) + 1.5 * torch.nn.functional.one_hot(self.labels, FEATURES)
        self.uids = [f"row{number}" for number in range(n)]
        self.keys = torch.from_numpy(uid_keys(self.uids)) if with_keys else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = {"x": self.x[index], "labels": self.labels[index]}
        return row if self.keys is None else {**row, "uid_key": self.keys[index]}


def trainer(model: torch.nn.Module, rows: Dataset, callback: TrainerCallback, out: Path, **options: object) -> Trainer:
    """A Trainer on the CPU that shows nothing; `eval_dataset` and `compute_loss_func` go to it as they are."""
    own = {name: options.pop(name) for name in ("eval_dataset", "compute_loss_func") if name in options}
    given = {"num_train_epochs": 4, "save_strategy": "no", "per_device_train_batch_size": 4, **options}
    args = TrainingArguments(
        output_dir=str(out), remove_unused_columns=False, report_to=[], disable_tqdm=True, use_cpu=True,
        logging_strategy="no", learning_rate=0.05, lr_scheduler_type="constant", **given,
    )  # fmt: skip
    return Trainer(model=model, args=args, train_dataset=rows, callbacks=[callback], **own)
