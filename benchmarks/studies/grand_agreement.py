"""How EL2N and GraNd rank CIFAR-10 images alike: of networks trained here, and of published ones.

    PYTHONPATH=.:kernels python -m benchmarks.studies.grand_agreement --images cifar10_10k.npz --scores published.npz
    ... [--small]                        minutes instead of a quarter of an hour; nothing is recorded

Ten CNNs are trained on the first 10,000 images with the labels of the data set, for as many steps as an epoch of all
50,000 has, and scores are means over the ten, as published. GraNd is taken twice: of the last layer in closed form
(`grand`), over all rows, and of all parameters (`full_grand`), for which each row costs a backward pass, over some
rows. The published scores, el2n_epoch1 and grand_epoch1 of `--scores`, stand in an order of their own, so that they
are held against each other alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import record
from datapruner.evaluation.equal_steps import Schedule, endless_epochs, train
from datapruner.evaluation.proxies.cnn import Cnn
from datapruner.evaluation.proxy import LabelledTask, Rows
from datapruner.training.gradient_norms import gradient_norms
from prunekernels.el2n import el2n
from prunekernels.extras import require
from prunekernels.grand import grand

BATCH, BLOCK = 128, 2048
FULL = "GraNd, all parameters"


@dataclass(frozen=True)
class Sizes:
    """Images, those of them whose full gradient is taken, trainings, and optimizer steps of each."""

    rows: int
    full_rows: int
    runs: int
    steps: int


SMALL, RECORDED = Sizes(1000, 200, 2, 40), Sizes(10_000, 1000, 10, 390)


@dataclass(frozen=True)
class AgreementRow:
    """Spearman's rank correlation of two scores over `rows` images, each the mean of `runs` trainings."""

    networks: str
    scores: str
    spearman: float
    rows: int
    runs: int


def images(path: Path, n: int) -> tuple[Rows, Rows]:
    """The first `n` images to train on, and a few to judge by."""
    with np.load(path, allow_pickle=False) as file:
        classes = file["names"].tolist()
        parts = []
        for part, wanted in (("train", n), ("test", BATCH)):
            jpeg, ends, labels = (file[f"{part}_{name}"] for name in ("jpeg", "offset", "label"))
            pictures = [
                jpeg[start:end].tobytes() for start, end in zip(ends[:wanted], ends[1 : wanted + 1], strict=True)
            ]
            uids = [f"{part}-{row}" for row in range(len(pictures))]
            parts.append(Rows(uids, images=pictures, labels=labels[: len(pictures)].astype(np.int64), classes=classes))
    return parts[0], parts[1]


def scores_of_run(task: LabelledTask, inputs: torch.Tensor, sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """EL2N and both forms of GraNd behind one training; the full one of the first rows."""
    steps = task.steps(endless_epochs(np.arange(task.n_rows), seed), None)
    model, points = train(task, steps, Schedule(sizes.steps, 1, 2e-3, seed))
    with torch.no_grad():
        answers = [task.answers(model, rows) for rows in torch.arange(task.n_rows).split(BLOCK)]
    logits, features = (torch.cat(parts) for parts in zip(*answers, strict=True))
    full = gradient_norms(model, range(sizes.full_rows), lambda network, row: torch.nn.functional.cross_entropy(
        network(inputs[row : row + 1]), task.labels[row : row + 1]))  # fmt: skip
    print(f"training {seed}: accuracy {points[-1].quality:.3f} on {BATCH} others", flush=True)
    return {
        "EL2N": el2n(logits, task.labels).numpy(),
        "GraNd, last layer": grand(logits, task.labels, features).numpy(),
        FULL: full,
    }


def agreements(scores: dict[str, np.ndarray], sizes: Sizes) -> Iterator[AgreementRow]:
    """Each two of the scores, over the rows that both have."""
    stats = require("scipy.stats", "data")
    for (one, first), (other, second) in combinations(scores.items(), 2):
        n = min(len(first), len(second))
        found = stats.spearmanr(first[:n], second[:n])
        yield AgreementRow("trained here", f"{one} and {other}", float(found.statistic), n, sizes.runs)


def published(path: Path) -> AgreementRow:
    """EL2N and GraNd behind the first epoch, means of ten networks on all of CIFAR-10."""
    with np.load(path, allow_pickle=False) as file:
        first, second = (file[name].astype(np.float64) for name in ("el2n_epoch1", "grand_epoch1"))
    found = require("scipy.stats", "data").spearmanr(first, second)
    return AgreementRow("published", f"EL2N and {FULL}", float(found.statistic), len(first), 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    sizes = SMALL if options.small else RECORDED
    task = Cnn(size=32, width=32, batch_size=BATCH, device="cpu").task(*images(options.images, sizes.rows))
    runs = [scores_of_run(task, task.inputs, sizes, seed) for seed in range(sizes.runs)]
    means = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    rows = [*agreements(means, sizes), published(options.scores)]
    for row in rows:
        print(row)
    if not options.small:
        print(record("grand_agreement", rows))


if __name__ == "__main__":
    main()
