"""Work in several processes of this machine, each of which makes once what it works with.

With more than one each is started afresh (spawn), so that none inherits threads or a GPU; a script then has to call
from under `if __name__ == "__main__":`. They share torch's threads and take the GPUs in turn, and end with the process
that started them, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from typing import TypeAlias, TypeVar, cast

import torch

from datapruner.scoring.worker import portable_error

Item = TypeVar("Item")
Result = TypeVar("Result")
Work: TypeAlias = Callable[[], Callable]


def in_processes(
    make: Callable[[], Callable[[Item], Result]],
    items: Sequence[Item],
    workers: int,
    threads: int,
    called: str,
    advice: str,
) -> Iterator[Result]:
    """What the work on each of `items` gives, as it is done, by so many processes with `threads` threads of torch each.

    `make` makes in each process what is called with an item.

    Few items at a time are given out, in their order. What the work raises is raised here; where a process dies a
    ChildProcessError, which says how many of the items, as they are `called`, were done, and ends with `advice`.
    """
    with _pool(make, min(workers, len(items)), threads) as pool:
        waiting: set[Future[Result]] = set()
        left, finished = iter(items), 0
        try:
            while True:
                while len(waiting) < 2 * workers and (item := next(left, None)) is not None:
                    waiting.add(cast("Future[Result]", pool.submit(_work, item)))
                if not waiting:
                    return
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ready:
                    result = future.result()
                    finished += 1
                    yield result
        except BrokenProcessPool as broken:
            hint = "" if finished else '; a script has to call from under `if __name__ == "__main__":`'
            raise ChildProcessError(
                f"a worker process died after {finished} of {len(items)} {called}, perhaps for want of memory{hint}. "
                f"{advice}"
            ) from broken


@contextmanager
def _pool(make: Work, workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end at once when the block does not end well, or when this process dies."""
    context = multiprocessing.get_context("spawn")
    numbers: SimpleQueue[int] = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    # nobody writes into it: it closes
    watched, kept_open = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _start, (make, threads, numbers, watched))
    try:
        yield pool
        pool.shutdown()
    finally:
        kept_open.close()
        pool.shutdown(cancel_futures=True)
        watched.close()
        numbers.close()


# how this process makes what it works with, where it is a worker
_makes: list[Work] = []


def _start(make: Work, threads: int, numbers: SimpleQueue[int], watched: Connection) -> None:
    """What a new process does first."""
    # ctrl-c reaches the whole group; the calling process decides what comes of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
    torch.set_num_threads(threads)
    number = numbers.get()
    if torch.cuda.device_count() > 1:
        torch.cuda.set_device(number % torch.cuda.device_count())
    _makes.append(make)


@cache
def _made() -> Callable:
    return _makes[0]()


def _end_with(watched: Connection) -> None:
    # true when the other end is closed, by its process or by that process' end
    watched.poll(None)
    os._exit(1)


def _work(item: object) -> object:
    try:
        return _made()(item)
    except Exception as error:
        raise portable_error(error) from error
