"""This machine: the calling process, or several that each load the models once (see scoring/processes.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from datapruner.scoring.engine import Engine
from datapruner.scoring.processes import in_processes
from datapruner.scoring.progress import ProgressCallback
from datapruner.scoring.worker import ScoringTask, Worker


@dataclass(frozen=True)
class Local(Engine):
    """Rule: so many processes of this machine, 1 is the calling one; `threads` of torch for each, 0 shares them out."""

    workers: int = 1
    threads: int = 0

    def check(self) -> None:
        if self.workers < 1 or self.threads < 0:
            raise ValueError(
                f"local wants workers of at least 1 and threads of at least 0, got {self.workers} and {self.threads}"
            )

    def run(self, task: ScoringTask, chunks: Sequence[int], on_progress: ProgressCallback) -> None:
        self.check()
        if self.workers == 1:
            with _threads(self.threads or torch.get_num_threads()):
                worker = Worker(task)
                for chunk in chunks:
                    worker(chunk, on_progress)
            return
        # the same for every share of the chunks that is left: threads can change the last bit of a float
        threads = self.threads or max(1, torch.get_num_threads() // self.workers)
        advice = "What is scored is kept: the same call goes on, with fewer workers where memory was short"
        for done in in_processes(partial(Worker, task.portable()), chunks, self.workers, threads, "chunks", advice):
            on_progress(done.rows, done.tokens)


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
