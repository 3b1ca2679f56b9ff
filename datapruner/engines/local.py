"""This machine: the calling process, or several that each load the models once.

With more than one worker each is a process of its own, started afresh (spawn), so that none inherits threads or a
GPU; a script then has to call from under `if __name__ == "__main__":`. Workers share torch's threads and take the
GPUs in turn. They end with the process that started them, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue

import torch

from datapruner.scoring.engine import Engine
from datapruner.scoring.progress import ProgressCallback
from datapruner.scoring.worker import ChunkCounts, ScoringTask, Worker, portable_error


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
        workers = min(self.workers, len(chunks))
        if self.workers == 1:
            with _threads(self.threads or torch.get_num_threads()):
                worker = Worker(task)
                for chunk in chunks:
                    worker(chunk, on_progress)
            return
        # the same for every share of the chunks that is left: threads can change the last bit of a float
        threads = self.threads or max(1, torch.get_num_threads() // self.workers)
        with _pool(task.portable(), workers, threads) as pool:
            _run(pool, chunks, 2 * workers, on_progress)


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _pool(task: ScoringTask, workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end at once when the block does not end well, or when this process dies."""
    context = multiprocessing.get_context("spawn")
    numbers: SimpleQueue[int] = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    # nobody writes into it: it closes
    watched, kept_open = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _start, (task, threads, numbers, watched))
    try:
        yield pool
        pool.shutdown()
    finally:
        kept_open.close()
        pool.shutdown(cancel_futures=True)
        watched.close()
        numbers.close()


def _run(pool: ProcessPoolExecutor, chunks: Sequence[int], ahead: int, on_progress: ProgressCallback) -> None:
    """Give out `chunks` in their order, few at a time."""
    waiting: set[Future[ChunkCounts]] = set()
    left, finished = iter(chunks), 0
    try:
        while True:
            while len(waiting) < ahead and (chunk := next(left, None)) is not None:
                waiting.add(pool.submit(_score, chunk))
            if not waiting:
                return
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                done = future.result()
                on_progress(done.rows, done.tokens)
                finished += 1
    except BrokenProcessPool as broken:
        hint = "" if finished else '; a script has to call from under `if __name__ == "__main__":`'
        raise ChildProcessError(
            f"a worker process died after {finished} of {len(chunks)} chunks, perhaps for want of memory{hint}. "
            "What is scored is kept: the same call goes on, with fewer workers where memory was short"
        ) from broken


# what this process works on, where it is a worker
_tasks: list[ScoringTask] = []


def _start(task: ScoringTask, threads: int, numbers: SimpleQueue[int], watched: Connection) -> None:
    """What a new process does first."""
    # ctrl-c reaches the whole group; the calling process decides what comes of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
    torch.set_num_threads(threads)
    number = numbers.get()
    if torch.cuda.device_count() > 1:
        torch.cuda.set_device(number % torch.cuda.device_count())
    _tasks.append(task)


@cache
def _worker() -> Worker:
    return Worker(_tasks[0])


def _end_with(watched: Connection) -> None:
    # true when the other end is closed, by its process or by that process' end
    watched.poll(None)
    os._exit(1)


def _score(chunk: int) -> ChunkCounts:
    try:
        return _worker()(chunk)
    except Exception as error:
        raise portable_error(error) from error
