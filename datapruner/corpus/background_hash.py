"""Work in a thread beside other work, waited for where its result is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Beside(Generic[Made]):
    """`work` in a thread that has begun; a daemon, so that who interrupts the program does not wait for it."""

    def __init__(self, work: Callable[[], Made]) -> None:
        self._work = work
        self._made: list[Made] = []
        self._failures: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Raise what the work has raised by now."""
        if self._failures:
            raise self._failures[0]

    def result(self) -> Made:
        """Wait for the work; what it made, or raise what it raised."""
        self._thread.join()
        self.look()
        return self._made[0]

    def _run(self) -> None:
        try:
            self._made.append(self._work())
        # raised again in the thread that waits
        except Exception as error:  # noqa: BLE001
            self._failures.append(error)
