"""Dynamic pruning by EL2N inside transformers' Trainer, of Attendu and Corbeil 2023 (arXiv:2306.03208).

    rows = KeptRows(dataset)
    pruning = DynamicEl2n(rows, keep_ratio=0.5, begin=4, every=4)
    Trainer(model, args, train_dataset=rows, callbacks=[pruning]).train()

The first `begin` epochs train on all rows. Then, every `every` epochs, all rows are scored by a forward pass in
evaluation mode, the scores are smoothed over the rounds (`smoothed_scores`), and the next epochs train on the
`keep_ratio` highest behind the `offset` highest, which are often wrong labels. Both are exact numbers of rows, ties
or not: thresholds at quantiles keep every row that ties with the last. `score` says what a row's score is, by default
the EL2N of `logits` and `labels`; `joint_el2n` is that of an intent and slots.

Shorter epochs have fewer steps: the paper trains at a constant rate without warm-up, and `planned_steps` counts them
for other schedules. Batches of an accumulation that a short epoch leaves unfilled are let go. The Trainer counts
epochs by full ones and cannot find its place in a pruned training again: to go on from its checkpoints is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from datapruner.corpus.uids import splitmix64
from datapruner.training.gather_rows import gather_rows, world_size
from datapruner.training.smoothed_scores import SmoothedScores
from prunekernels import budget
from prunekernels.el2n import el2n

Output: TypeAlias = "Mapping[str, torch.Tensor]"
Inputs: TypeAlias = "Mapping[str, torch.Tensor]"


def logits_el2n(output: Output, inputs: Inputs) -> torch.Tensor:
    """EL2N of the model's `logits` [n, C] and the batch's `labels` [n]."""
    return el2n(output["logits"], inputs["labels"])


class KeptRows(Dataset):
    """Some rows of `dataset`, at first all; which, may change between epochs. A loader's workers must not persist."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.kept = np.arange(len(dataset))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> object:
        return self.dataset[int(self.kept[index])]


@dataclass(eq=False)
class DynamicEl2n(TrainerCallback):
    """Chooses the rows of `rows` anew behind epoch `begin` and every `every` epochs from there on.

    `keep_ratio`: the fraction that is trained on. `offset`: the fraction with the highest scores that is left out.
    `alpha`, `deviations`: see `SmoothedScores`. `batch_size`: of the forward passes, by default the evaluation's.
    """

    rows: KeptRows
    keep_ratio: float = 0.5
    offset: float = 0.0
    begin: int = 4
    every: int = 4
    score: Callable[[Output, Inputs], torch.Tensor] = logits_el2n
    alpha: float = 0.8
    deviations: float = 1.0
    batch_size: int | None = None
    seed: int = 0
    epochs_done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        n = len(self.rows.kept)
        self.n_keep, self.n_offset = budget.n_keep(n, self.keep_ratio), int(self.offset * n + 1e-9)
        if self.offset < 0 or self.n_keep + self.n_offset > n or self.begin < 1 or self.every < 1:
            raise ValueError(
                "want begin and every of at least 1, and keep_ratio and offset that are at most 1 together, got "
                f"{self.begin}, {self.every}, {self.keep_ratio} and {self.offset}"
            )
        self._smoothed = SmoothedScores(self.alpha, self.deviations)

    def planned_steps(self, epochs: int, batch_size: int) -> int:
        """How many batches of `batch_size` rows, over all processes, `epochs` epochs have."""
        full, pruned = -(-len(self.rows.dataset) // batch_size), -(-self.n_keep // batch_size)  # type: ignore[arg-type]
        return min(epochs, self.begin) * full + max(0, epochs - self.begin) * pruned

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Begin with all rows; raises ValueError where the Trainer's loader would not follow."""
        if state.global_step:
            raise ValueError(f"want a training from its beginning, got step {state.global_step}: see dynamic_el2n")
        strategy = getattr(args, "train_sampling_strategy", "random")
        if args.dataloader_persistent_workers or strategy not in ("random", "sequential"):
            raise ValueError("want a loader whose workers do not persist and that samples at random or in sequence")
        self.epochs_done = 0
        self._smoothed = SmoothedScores(self.alpha, self.deviations)
        self.rows.kept = np.arange(len(self.rows.dataset))  # type: ignore[arg-type]

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Choose the rows of the next epochs where it is time."""
        model, loader = kwargs.get("model"), kwargs.get("train_dataloader")
        if not isinstance(model, torch.nn.Module) or not isinstance(loader, DataLoader):
            raise ValueError("want the trainer's model and loader")
        self.epochs_done += 1
        if args.gradient_accumulation_steps > 1:
            model.zero_grad()
        behind = self.epochs_done - self.begin
        if behind >= 0 and behind % self.every == 0 and self.epochs_done < args.num_train_epochs:
            self.rows.kept = self.chosen(self._smoothed.update(self._scores(model, loader, args)))

    def chosen(self, scores: np.ndarray) -> np.ndarray:
        """The rows to train on by `scores` [n], int64 [n_keep] in ascending order."""
        ties = splitmix64(np.arange(len(scores), dtype=np.uint64), self.seed)
        order = np.lexsort((ties, -scores))
        return np.sort(order[self.n_offset : self.n_offset + self.n_keep])

    def _scores(self, model: torch.nn.Module, loader: DataLoader, args: TrainingArguments) -> np.ndarray:
        """The score of every row, float32 [n], each process scoring its part."""
        dataset = self.rows.dataset
        rank = torch.distributed.get_rank() if world_size() > 1 else 0
        own = np.arange(rank, len(dataset), world_size())  # type: ignore[arg-type]
        # a generator of its own: the training's random state stays as it is
        batches: DataLoader = DataLoader(
            Subset(dataset, own.tolist()),
            batch_size=self.batch_size or args.per_device_eval_batch_size,
            collate_fn=loader.collate_fn,
            generator=torch.Generator(),
        )
        was_training = model.training
        model.eval()
        try:
            found = [np.zeros(0, np.float32), *(self._scored(model, batch, args) for batch in batches)]
        finally:
            model.train(was_training)
        rows, scores = gather_rows(own), gather_rows(np.concatenate(found))
        ordered = np.zeros(len(dataset), dtype=np.float32)  # type: ignore[arg-type]
        ordered[rows] = scores
        return ordered

    @torch.no_grad()
    def _scored(self, model: torch.nn.Module, batch: Inputs, args: TrainingArguments) -> np.ndarray:
        inputs = {name: value.to(args.device) for name, value in batch.items()}
        dtype = torch.bfloat16 if args.bf16 else torch.float16
        with torch.autocast(args.device.type, dtype, enabled=args.bf16 or args.fp16):
            output = model(**inputs)
        return self.score(output, inputs).float().cpu().numpy()
