"""Joint intents and slots, trained on all rows and on fewer: dynamic EL2N beside rows drawn by lot, in one run.

    PYTHONPATH=.:kernels python -m benchmarks.dynamic_training snips_slots.jsonl.xz

The file has a row a line, with `split` (train, test), `tokens`, `slots` and `intent`, as those of the Snips set are
published with JointBERT. The model is small: embeddings, two convolutions, two heads. Every way of training has the
same seeds, epochs and learning rate; those that prune begin behind epoch 2 and choose anew every 2 epochs. `exact` is
the fraction of test sentences with the intent and every slot right. CPU seconds are the training's, scoring included.
"""

from __future__ import annotations

import argparse
import json
import lzma
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from benchmarks.harness import record
from datapruner.training.dynamic_el2n import DynamicEl2n, KeptRows
from datapruner.training.joint_el2n import IGNORED, joint_el2n

BATCH, BEGIN, EVERY = 64, 2, 2
Batch = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Row:
    """One way of training, over its seeds: means, and the standard deviation of `exact`."""

    way: str
    keep_ratio: float
    seeds: int
    steps: int
    exact: float
    exact_deviation: float
    intent: float
    slot: float
    cpu_seconds: float


class Sentences(Dataset):
    """Words, slots and the intent of each sentence as numbers; 0 is a word that training has not."""

    def __init__(self, rows: Sequence[dict], numbers: Mapping[str, Mapping[str, int]]) -> None:
        self.rows = [
            {
                "words": torch.tensor([numbers["words"].get(word.lower(), 0) for word in row["tokens"]]),
                "slots": torch.tensor([numbers["slots"].get(slot, 0) for slot in row["slots"]]),
                "intents": torch.tensor(numbers["intents"][row["intent"]]),
            }
            for row in rows
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.rows[index]


class JointModel(torch.nn.Module):
    """Logits of the intent and of every slot, and the sum of both losses."""

    def __init__(self, words: int, slots: int, intents: int, width: int = 96) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, width)
        self.layers = torch.nn.ModuleList(torch.nn.Conv1d(width, width, 3, padding=1) for _ in range(2))
        self.slot_head, self.intent_head = torch.nn.Linear(width, slots), torch.nn.Linear(width, intents)
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, words: torch.Tensor, slots: torch.Tensor, intents: torch.Tensor) -> dict[str, torch.Tensor]:
        there = (slots != IGNORED)[..., None]
        x = self.dropout(self.embedding(words)) * there
        for layer in self.layers:
            x = (x + layer(x.transpose(1, 2)).transpose(1, 2).relu()) * there
        x = self.dropout(x)
        slot_logits, intent_logits = self.slot_head(x), self.intent_head(x.sum(1) / there.sum(1))
        functional = torch.nn.functional
        loss = functional.cross_entropy(slot_logits.transpose(1, 2), slots, ignore_index=IGNORED)
        loss = loss + functional.cross_entropy(intent_logits, intents)
        return {"loss": loss, "slot_logits": slot_logits, "intent_logits": intent_logits}


def padded(rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch; pads of the slots are ignored."""
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "words": pad([row["words"] for row in rows], batch_first=True),
        "slots": pad([row["slots"] for row in rows], batch_first=True, padding_value=IGNORED),
        "intents": torch.stack([row["intents"] for row in rows]),
    }


def joint_score(output: Batch, inputs: Batch) -> torch.Tensor:
    return joint_el2n(output["intent_logits"], inputs["intents"], output["slot_logits"], inputs["slots"])


def by_lot(output: Batch, inputs: Batch) -> torch.Tensor:
    return torch.rand(len(inputs["intents"]))


Way = tuple[str, float, Callable[[Batch, Batch], torch.Tensor] | None]
WAYS: list[Way] = [
    ("all rows", 1.0, None),
    ("dynamic EL2N", 0.5, joint_score),
    ("by lot", 0.5, by_lot),
    ("dynamic EL2N", 0.2, joint_score),
    ("by lot", 0.2, by_lot),
]


def train(model: JointModel, rows: Sentences, way: Way, epochs: int, seed: int) -> tuple[int, float]:
    """Train in place; returns the steps and CPU seconds."""
    kept, callbacks = KeptRows(rows), []
    if way[2] is not None:
        callbacks = [DynamicEl2n(kept, way[1], begin=BEGIN, every=EVERY, score=way[2], batch_size=256)]
    with tempfile.TemporaryDirectory() as out:
        args = TrainingArguments(
            output_dir=out, num_train_epochs=epochs, per_device_train_batch_size=BATCH, learning_rate=2e-3, seed=seed,
            lr_scheduler_type="constant", use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no",
            logging_strategy="no", remove_unused_columns=False,
        )  # fmt: skip
        trainer = Trainer(model, args, train_dataset=kept, data_collator=padded, callbacks=callbacks)
        begun = time.process_time()
        trainer.train()
        return trainer.state.global_step, time.process_time() - begun


@torch.no_grad()
def judge(model: JointModel, rows: Sentences) -> tuple[float, float, float]:
    """Exact sentences, intents and slots that are right."""
    model.eval()
    batch = padded(rows.rows)
    output, there = model(**batch), batch["slots"] != IGNORED
    slots = output["slot_logits"].argmax(-1) == batch["slots"]
    intents = output["intent_logits"].argmax(-1) == batch["intents"]
    exact = intents & (slots | ~there).all(1)
    return float(exact.float().mean()), float(intents.float().mean()), float(slots[there].float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSON lines, plain or .xz")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with (lzma.open if options.file.suffix == ".xz" else open)(options.file, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    splits = {split: [row for row in found if row["split"] == split] for split in ("train", "test")}
    words = sorted({word.lower() for row in splits["train"] for word in row["tokens"]})
    slots = sorted({slot for row in splits["train"] for slot in row["slots"]})
    intents = sorted({row["intent"] for row in splits["train"]})
    numbers = {
        "words": {word: number for number, word in enumerate(words, 1)},
        "slots": {slot: number for number, slot in enumerate(slots)},
        "intents": {intent: number for number, intent in enumerate(intents)},
    }
    data = {split: Sentences(rows, numbers) for split, rows in splits.items()}
    made = []
    for way in WAYS:
        runs = []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            model = JointModel(len(words) + 1, len(numbers["slots"]), len(numbers["intents"]))
            steps, seconds = train(model, data["train"], way, options.epochs, seed)
            runs.append((steps, seconds, *judge(model, data["test"])))
        means = [statistics.fmean(values) for values in zip(*runs, strict=True)]
        deviation = statistics.stdev([run[2] for run in runs]) if len(runs) > 1 else 0.0
        row = Row(way[0], way[1], len(runs), round(means[0]), means[2], deviation, means[3], means[4], means[1])
        print(row)
        made.append(row)
    print(record("dynamic_training", made))


if __name__ == "__main__":
    main()
