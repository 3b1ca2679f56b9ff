"""What there is to do, and who does it: cases on kinds of pictures, by one process or by several beside each other.

Processes share nothing: each has the model and the pictures, and hands back entries of the journal. Times are measured
by the first one, when the others are gone.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.lvlm.retention.asking import ask
from benchmarks.lvlm.retention.cases import Case
from benchmarks.lvlm.retention.costs import costs
from benchmarks.lvlm.retention.journal import MEASURED, Entry
from benchmarks.lvlm.retention.subject import Subject, pictures
from benchmarks.lvlm.scene import KINDS
from benchmarks.lvlm.sprites import Sprites

Task = tuple[list[Case], str]


@dataclass(frozen=True)
class Setting:
    """The folders of the model and of the split's sprites, how many questions of each kind of picture, and where."""

    whole: Path
    sprites: Path
    split: str
    n_questions: int
    device: str
    threads: int


class Asker:
    """A process's own model and pictures."""

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        # as float32 elsewhere
        torch.backends.cudnn.allow_tf32 = False
        self.subject = Subject.load(setting.whole, setting.device)
        sprites = Sprites.load(setting.sprites / setting.split)
        self.asked = {kind: pictures(kind, setting.split, setting.n_questions, sprites) for kind in KINDS}

    def answered(self, cases: Sequence[Case], kind: str) -> list[Entry]:
        """What `cases`, which differ in positions alone, answer; one that refuses says why."""
        try:
            marks = ask(self.subject, [case.method() for case in cases], self.asked[kind])
        except ValueError as error:
            if len(cases) > 1:
                return [entry for case in cases for entry in self.answered([case], kind)]
            return [Entry(cases[0].name, kind, [], refused=str(error))]
        return [Entry(case.name, kind, right) for case, right in zip(cases, marks, strict=True)]

    def measured(self, case: Case) -> list[Entry]:
        """What a prompt costs; prompts about other kinds of picture are as long."""
        return [Entry(case.name, MEASURED, [], costs(self.subject, case.method(), self.asked[KINDS[0]]))]


class Helper:
    """The asker of a process that helps."""

    own: Asker

    @classmethod
    def start(cls, setting: Setting) -> None:
        """Make it, once."""
        cls.own = Asker(setting)

    @classmethod
    def answered(cls, task: Task) -> list[Entry]:
        """What it says."""
        return cls.own.answered(*task)


def tried(call: Callable[..., list[Entry]], *arguments: object) -> list[Entry]:
    """What the call gives; nothing, for a later run, where the device has no memory or a kernel fails."""
    try:
        return call(*arguments)
    except RuntimeError as error:
        print(f"failed, and left for a later run: {type(error).__name__}: {error}", flush=True)
        return []


def answers(first: Asker, setting: Setting, tasks: Sequence[Task], n_workers: int, until: float) -> Iterator[Entry]:
    """Do `tasks` in about their order, until time.monotonic() is `until`; `first` does them where it is alone."""
    if n_workers <= 1 or not tasks:
        for task in tasks:
            if time.monotonic() >= until:
                return
            yield from tried(first.answered, *task)
        return
    left, running = iter(tasks), set[Future[list[Entry]]]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, initializer=Helper.start, initargs=(setting,)) as pool:
        while True:
            # no more than they are at, so that none is begun when time is up
            while len(running) < n_workers and time.monotonic() < until and (more := next(left, None)):
                running.add(pool.submit(Helper.answered, more))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from tried(future.result)
