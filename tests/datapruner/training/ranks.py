"""Two processes that train together, each on its part of the rows: run as a program, which forks them.

python -m tests.datapruner.training.ranks <folder>        leaves what each rank holds in the end, to be compared
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from datapruner.training.dynamic_pruning import DynamicPruning
from datapruner.training.gather_rows import gather_rows
from datapruner.training.recorder import DynamicsRecorder
from datapruner.training.running_record import RecordSettings

ROWS, CLASSES, EPOCHS, RANKS = 13, 3, 6, 2


def traces() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [epochs, rows, classes] and labels [rows]."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(EPOCHS, ROWS, CLASSES, generator=draw), torch.randint(0, CLASSES, (ROWS,), generator=draw)


def parts(epoch: int) -> list[np.ndarray]:
    """The rows of each rank in an epoch: shuffled over the ranks, unevenly, and once none at all for the second."""
    order = np.random.default_rng(epoch).permutation(ROWS)
    return [order, order[:0]] if epoch == 2 else [order[:8], order[8:]]


def train(ranks: list[int], pruning_epochs: int = 4) -> tuple[DynamicsRecorder, DynamicPruning]:
    """What the processes of `ranks` log; one process alone takes the parts of both in turn."""
    logits, labels = traces()
    recorder, pruning = DynamicsRecorder(RecordSettings(window=3)), DynamicPruning(ROWS, 9)
    for epoch in range(EPOCHS):
        pruning.begin_epoch(epoch)
        for rank in ranks:
            rows = parts(epoch)[rank]
            for at in range(0, len(rows), 3):
                some = torch.from_numpy(rows[at : at + 3])
                recorder.log([f"u{row}" for row in some.tolist()], logits[epoch, some], labels[some])
                pruning.weighted_mean(some, logits[epoch, some, 0].exp())
        recorder.gather()
    pruning.begin_epoch(EPOCHS)
    return recorder, pruning


def leave(folder: Path, name: str, recorder: DynamicsRecorder, pruning: DynamicPruning) -> None:
    recorder.save(folder / f"{name}.safetensors")
    np.save(folder / f"{name}.npy", np.array([*pruning, *pruning.losses]))


def main(folder: Path) -> None:
    children = []
    for rank in range(RANKS):
        pid = os.fork()
        if not pid:
            torch.set_num_threads(1)
            place = f"file://{folder}/meeting"
            distributed.init_process_group("gloo", place, timedelta(seconds=60), world_size=RANKS, rank=rank)
            own = np.arange(rank * 10, rank * 10 + 2 + rank, dtype=np.int16)
            joined = gather_rows(np.stack([own, own + 1], 1))
            assert joined.tolist() == [[0, 1], [1, 2], [10, 11], [11, 12], [12, 13]]
            assert gather_rows(np.zeros((0, 0), np.float32)).shape == (0, 0)
            assert gather_rows(np.zeros((2, 0), np.float32)).shape == (4, 0)
            leave(folder, f"rank{rank}", *train([rank]))
            distributed.destroy_process_group()
            os._exit(0)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    leave(folder, "alone", *train([0, 1]))
    sys.exit(max(map(abs, codes)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
