"""The files of a score table, which is ours alone: each appears whole, and none by a link out of the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunekernels.io.outputs import atomic_file, make_parents
from prunekernels.io.paths import path_inside


@contextmanager
def table_file(folder: Path, name: str) -> Iterator[Path]:
    """A temporary file that becomes `name` in the table `folder`; the folder of a column is made if need be."""
    path = path_inside(folder, name, str(folder))
    make_parents(path)
    with atomic_file(path, replaces=True, recovers=False) as temporary:
        yield temporary
