"""Intents and slots at equal steps: dynamic EL2N beside rows by lot, rows chosen once, and all rows.

    PYTHONPATH=.:kernels python -m benchmarks.studies.nlu --snips snips.jsonl.xz --clinc clinc150.jsonl.xz --out FOLDER

Rows have `split` (train, test), `intent`, and `tokens` with `slots` (Snips) or `text` (CLINC150, whose rows out of
scope are left out). The model is that of benchmarks/dynamic_training.py. Every training takes the same number of
optimizer steps; those that prune choose anew every two epochs, behind two on all rows. Rows that are chosen once go by
the EL2N of another training of two epochs. `exact` is the fraction of test sentences with the intent and every slot
right.
"""

from __future__ import annotations

import json
import lzma
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmarks.dynamic_training import JointModel, Sentences, by_lot, joint_score, judge, padded
from benchmarks.harness import record
from benchmarks.studies.study import Sizes, arguments
from datapruner.evaluation.cells import Cells, Trained
from datapruner.evaluation.equal_steps import Point
from datapruner.evaluation.paired_statistics import holm, paired_difference
from datapruner.training.dynamic_el2n import DynamicEl2n, KeptRows

SMALL, RECORDED = Sizes(400, 200, 40, 2), Sizes(100_000, 100_000, 1500, 5)
BATCH, BEGIN, EVERY, EARLY = 64, 2, 2, 2
# mean, low, high and p of a difference
Ends = tuple[float | None, float | None, float | None, float | None]
NOTHING: Ends = (None, None, None, None)
Make = Callable[[int], tuple[KeptRows, list[TrainerCallback]]]
RATIOS = (0.5, 0.2)
# a seed that no training of the table has
SCORING_SEED = 1000


@dataclass(frozen=True)
class NluRow:
    """One way on one set: mean of `exact`, and its paired differences from the others, p corrected by Holm."""

    data: str
    way: str
    keep_ratio: float
    seeds: int
    exact: float
    against_all: float | None
    all_low: float | None
    all_high: float | None
    all_p: float | None
    against_lot: float | None
    lot_low: float | None
    lot_high: float | None
    lot_p: float | None
    seconds: float


class StopBehind(TrainerCallback):
    """Ends a training behind so many steps, however many epochs these are."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        control.should_training_stop = control.should_training_stop or state.global_step >= self.steps
        return control


@dataclass(frozen=True)
class Data:
    """One set: rows to train on and to judge by, and how many words, slots and intents there are."""

    name: str
    train: Sentences
    test: Sentences
    sizes: tuple[int, int, int]

    def model(self, seed: int) -> JointModel:
        """A new one."""
        torch.manual_seed(seed)
        return JointModel(*self.sizes)


def load(name: str, path: Path, sizes: Sizes) -> Data:
    """The first rows of each split."""
    with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    for row in found:
        row.setdefault("tokens", row.get("text", "").split())
        row.setdefault("slots", ["O"] * len(row["tokens"]))
    # every so many, so that a part of a set has all of its intents
    train, test = (_some([row for row in found if row["split"] == split], n)
                   for split, n in (("train", sizes.rows), ("test", sizes.test_rows)))  # fmt: skip
    test = [row for row in test if row["intent"] in {item["intent"] for item in train}]
    kinds = {
        "words": sorted({word.lower() for row in train for word in row["tokens"]}),
        "slots": sorted({slot for row in train for slot in row["slots"]}),
        "intents": sorted({row["intent"] for row in train}),
    }
    numbers = {kind: {item: n for n, item in enumerate(items, kind == "words")} for kind, items in kinds.items()}
    counts = (len(kinds["words"]) + 1, len(kinds["slots"]), len(kinds["intents"]))
    return Data(name, Sentences(train, numbers), Sentences(test, numbers), counts)


def _some(rows: list[dict], n: int) -> list[dict]:
    return rows[:: max(1, -(-len(rows) // n))]


def train(
    data: Data, rows: KeptRows, seed: int, steps: int, callbacks: Sequence[TrainerCallback]
) -> tuple[JointModel, float]:
    """A model behind so many steps, and the seconds that they took."""
    model = data.model(seed)
    with tempfile.TemporaryDirectory() as out:
        args = TrainingArguments(
            output_dir=out, num_train_epochs=10_000, per_device_train_batch_size=BATCH, learning_rate=2e-3, seed=seed,
            lr_scheduler_type="constant", use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no",
            logging_strategy="no", remove_unused_columns=False,
        )  # fmt: skip
        stop = [*callbacks, StopBehind(steps)]
        trainer = Trainer(model, args, train_dataset=rows, data_collator=padded, callbacks=stop)
        begun = time.perf_counter()
        trainer.train()
        return model, time.perf_counter() - begun


def early_scores(data: Data) -> np.ndarray:
    """EL2N of every row by a model that trained for two epochs on all, float [n]."""
    steps = EARLY * -(-len(data.train) // BATCH)
    model, _ = train(data, KeptRows(data.train), SCORING_SEED, steps, [])
    model.eval()
    with torch.no_grad():
        batches = DataLoader(data.train, batch_size=256, collate_fn=padded)
        return torch.cat([joint_score(model(**batch), batch) for batch in batches]).numpy()


def ways(data: Data, scores: np.ndarray) -> Iterator[tuple[str, float, Make]]:
    """Each way by its name, the share that it keeps, and what makes its rows and callbacks for a seed."""
    n = len(data.train)

    def dynamic(ratio: float, score: Callable) -> Make:
        def make(seed: int) -> tuple[KeptRows, list[TrainerCallback]]:
            rows = KeptRows(data.train)
            return rows, [DynamicEl2n(rows, ratio, begin=BEGIN, every=EVERY, score=score, batch_size=256, seed=seed)]

        return make

    def fixed(rows: np.ndarray | int) -> Make:
        """These rows, or so many by lot."""

        def make(seed: int) -> tuple[KeptRows, list[TrainerCallback]]:
            kept = np.random.default_rng(seed).permutation(n)[:rows] if isinstance(rows, int) else rows
            return KeptRows(Subset(data.train, kept.tolist())), []

        return make

    yield "all rows", 1.0, fixed(np.arange(n))
    for ratio in RATIOS:
        count = round(ratio * n)
        yield "by lot, once", ratio, fixed(count)
        yield "by lot, anew", ratio, dynamic(ratio, by_lot)
        yield "EL2N, once", ratio, fixed(np.argsort(-scores, kind="stable")[:count])
        yield "EL2N, dynamic", ratio, dynamic(ratio, joint_score)


def compare(data: Data, sizes: Sizes, out: Path) -> list[NluRow]:
    """Train what is missing of one set, and compare."""
    out.mkdir(parents=True, exist_ok=True)
    cells, scores = Cells(out), early_scores(data)
    found: dict[tuple[str, float], list[Trained]] = {}
    for way, ratio, make in ways(data, scores):
        for seed in range(sizes.seeds):
            cell: dict[str, str | int | float] = {
                "data": data.name, "rows": len(data.train), "test_rows": len(data.test), "way": way,
                "keep_ratio": ratio, "seed": seed, "steps": sizes.steps,
            }  # fmt: skip
            trained = cells.load(cell)
            if trained is None:
                rows, callbacks = make(seed)
                model, seconds = train(data, rows, seed, sizes.steps, callbacks)
                trained = Trained((Point(sizes.steps, seconds, judge(model, data.test)[0]),))
                cells.save(cell, trained)
            found.setdefault((way, ratio), []).append(trained)
            print(f"{data.name}, {way} at {ratio:g}, seed {seed}: {trained.quality:.4f}", flush=True)
    return _rows(data.name, found)


def _rows(name: str, found: dict[tuple[str, float], list[Trained]]) -> list[NluRow]:
    """Holm's correction goes over all ways and ratios of one set."""
    qualities = {key: [item.quality for item in items] for key, items in found.items()}
    others = [key for key in found if key[0] != "all rows"]
    against: dict[str, dict[tuple[str, float], Ends]] = {"all": {}, "lot": {}}
    for kind in against:
        keys = [key for key in others if kind == "all" or key[0] != "by lot, once"]
        bases = [("all rows", 1.0) if kind == "all" else ("by lot, once", key[1]) for key in keys]
        pairs = zip(keys, bases, strict=True)
        differences = [[a - b for a, b in zip(qualities[key], qualities[base], strict=True)] for key, base in pairs]
        compared = [*map(paired_difference, differences)]
        for key, item, p in zip(keys, compared, holm([item.p for item in compared]), strict=True):
            against[kind][key] = (item.mean, item.low, item.high, p)
    rows = []
    for (way, ratio), items in found.items():
        seconds, exact = statistics.fmean(item.seconds for item in items), statistics.fmean(qualities[way, ratio])
        whole: Ends = against["all"].get((way, ratio), NOTHING)
        lot: Ends = against["lot"].get((way, ratio), NOTHING)
        rows.append(NluRow(name, way, ratio, len(items), exact, *whole, *lot, seconds))
    return rows


def main() -> None:
    options, sizes = arguments(__doc__, SMALL, RECORDED, "snips", "clinc")
    rows = []
    for name, path in (("Snips", options.snips), ("CLINC150", options.clinc)):
        rows += compare(load(name, path, sizes), sizes, options.out / name)
    for row in rows:
        print(row)
    if options.is_recorded:
        print(record("study_nlu", rows))


if __name__ == "__main__":
    main()
