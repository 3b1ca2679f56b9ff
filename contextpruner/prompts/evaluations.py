"""Every evaluation, remembered: of each pruned prompt, known by its tokens, what each row came to.

In memory, or with a file behind it, to which a line is added for each prompt that is scored. A run that was killed goes
on from it: a search with the same seed asks the same again, gets what it got, and comes to the same end. A line that
was being written is dropped; two runs on one file are refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from contextpruner.documents.files import parse_line
from contextpruner.prompts.task import RowScores, Task
from prunekernels.io.json_files import Fields
from prunekernels.io.staging import lock
from prunekernels.io.streams import bounded_lines


class _Known(NamedTuple):
    """One row under one prompt; `seconds` is its share of the time that it took."""

    likelihood: float
    correct: float
    seconds: float


class Evaluations:
    """What is known. `n_computed` counts what was not, a prompt on a row each."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, _Known]] = {}
        self._file: BinaryIO | None = None
        self.n_computed = 0

    def scores(self, task: Task, kept: np.ndarray, rows: Sequence[int]) -> RowScores:
        """What `kept` comes to on `rows`; what is known of it is not computed again."""
        held = self._known.setdefault(key_of(task, kept), {})
        missing = [row for row in rows if row not in held]
        if missing:
            begun = time.perf_counter()
            found = task.score(kept, missing)
            share = (time.perf_counter() - begun) / len(missing)
            own = {
                row: _Known(float(likelihood), float(correct), share)
                for row, likelihood, correct in zip(missing, found.likelihood, found.correct, strict=True)
            }
            held.update(own)
            self.n_computed += len(missing)
            self._write(key_of(task, kept), own)
        return RowScores(*(np.array([held[row][at] for row in rows], dtype=np.float64) for at in range(2)))

    def seconds(self, task: Task, kept: np.ndarray, rows: Sequence[int]) -> float:
        """How long it took to compute what is known of `kept` on `rows`."""
        held = self._known.get(key_of(task, kept), {})
        return sum(held[row].seconds for row in rows if row in held)

    @classmethod
    @contextmanager
    def kept_in(cls, path: Path) -> Iterator[Evaluations]:
        """Those in the file `path`, made if need be, to which new ones are added.

        Raises BlockingIOError where another run has the file, ValueError with the place of what is broken.
        """
        with open(path, "ab+") as file:
            try:
                lock(file.fileno())
            except BlockingIOError as error:
                raise BlockingIOError(error.errno, "another run is at work with it", str(path)) from error
            _drop_torn_line(file)
            made = cls()
            file.seek(0)
            for number, line in bounded_lines(file, str(path)):
                if line:
                    made._read(f"{path}:{number}", line)
            made._file = file
            yield made

    def _read(self, place: str, line: bytes) -> None:
        held = Fields(parse_line(place, line), place)
        columns = [held.numbers(name) for name in ("rows", "likelihood", "correct", "seconds")]
        if len({len(column) for column in columns}) != 1:
            raise ValueError(f"{place}: want as many numbers of each kind, got {[*map(len, columns)]}")
        own = self._known.setdefault(held.text("key"), {})
        for row, *values in zip(*columns, strict=True):
            own[int(row)] = _Known(*values)

    def _write(self, key: str, own: dict[int, _Known]) -> None:
        if self._file is None:
            return
        columns = {name: [getattr(known, name) for known in own.values()] for name in _Known._fields}
        line = json.dumps({"key": key, "rows": [*own], **columns}, allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()


def key_of(task: Task, kept: np.ndarray) -> str:
    """32 hex digits of a task and the tokens of a pruned prompt."""
    held = blake2b(task.name.encode(), digest_size=16)
    held.update(b"\0" + np.array(task.ids(kept), dtype="<i8").tobytes())
    return held.hexdigest()


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut `file` behind its last line feed."""
    file.seek(0)
    data = file.read()
    file.truncate(data.rfind(b"\n") + 1)
