"""Is an input what a selection was made from? Files on disk are hashed beside the work that goes through them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from datapruner.fingerprint import difference, fingerprint
from datapruner.selection import Selection
from datapruner.source import Source


def check_source(source: Source, selection: Selection) -> None:
    """Raise ValueError where `source` is not what the selection was made from."""
    reason = difference(selection.input["files"], fingerprint(source))
    if reason is not None:
        raise ValueError(f"the selection is of another input: {reason}")


@contextmanager
def checking(selection: Selection, source: Source) -> Iterator[Callable[[], None]]:
    """`check_source` of files on disk in a thread, of anything else before the block, which would go through it twice.

    Raises at the end of the block at the latest, in place of an error that another input led to; what it yields
    raises as soon as it is known.
    """
    if not all(isinstance(piece, Path) for piece in source.files()):
        check_source(source, selection)
        yield lambda: None
        return
    failures: list[Exception] = []

    def run() -> None:
        try:
            check_source(source, selection)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            failures.append(error)

    # a daemon: who interrupts the work does not wait for it
    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def look() -> None:
        if failures:
            raise failures[0]

    try:
        yield look
    except Exception:
        thread.join()
        look()
        raise
    thread.join()
    look()
