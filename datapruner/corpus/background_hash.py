"""Work in a thread beside other work, waited for where its result is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class BackgroundTask(Generic[Result]):
    """`work` in a thread that has begun; a daemon, so that who interrupts the program does not wait for it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._results: list[Result] = []
        self._failures: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def raise_if_failed(self) -> None:
        """Raise what the work has raised by now."""
        if self._failures:
            raise self._failures[0]

    def result(self) -> Result:
        """Wait for the work; what it made, or raise what it raised."""
        self._thread.join()
        self.raise_if_failed()
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        # raised again in the thread that waits
        except Exception as error:  # noqa: BLE001
            self._failures.append(error)
