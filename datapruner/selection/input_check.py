"""Is an input what a selection was made from? Files on disk are hashed beside the work that goes through them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from datapruner.corpus.background_hash import BackgroundTask
from datapruner.corpus.fingerprint import difference, fingerprint, is_on_disk
from datapruner.corpus.source import Source
from datapruner.selection.selection import Selection


def check_same_input(source: Source, selection: Selection) -> None:
    """Raise ValueError where `source` is not what the selection was made from."""
    image = selection.input["fields"].get("image")
    if image is not None and source.image is None:
        # files that rows name belong to the input, also for who asks for other fields
        source = dataclasses.replace(source, image=image)
    if (limit := selection.input["fields"].get("limit")) is not None:
        source = dataclasses.replace(source, limit=int(limit))
    reason = difference(selection.input["files"], fingerprint(source))
    if reason is not None:
        raise ValueError(f"the selection is of another input: {reason}")


@contextmanager
def check_in_background(selection: Selection, source: Source) -> Iterator[Callable[[], None]]:
    """`check_same_input` in a thread for files on disk, and before the block for what that would go through twice.

    Raises at the end of the block at the latest, in place of an error that another input led to; what it yields
    raises as soon as it is known.
    """
    if not is_on_disk(source):
        check_same_input(source, selection)
        yield lambda: None
        return
    hashing = BackgroundTask(partial(check_same_input, source, selection))
    try:
        yield hashing.raise_if_failed
    except Exception:
        hashing.result()
        raise
    hashing.result()
