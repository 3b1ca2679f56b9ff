"""What a scorer's `fit` keeps while it works, so that one that is killed goes on where it was.

A folder beside the parts of the column, with named files of arrays that appear whole. It goes once what `fit` found
is on disk.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from datapruner.corpus.table_files import table_file
from datapruner.scoring.safetensors_mmap import mmap_safetensors, save_safetensors

WORKSPACE = "workspace"
_FILE = re.compile(r"(\w+(?:-\d{8})?)\.safetensors", re.ASCII)

Item = TypeVar("Item")
ItemOut = TypeVar("ItemOut", covariant=True)


@runtime_checkable
class Resumable(Protocol, Generic[ItemOut]):
    """Batches that can be gone through from any of them on, without reading those before."""

    def after(self, done: int) -> Iterator[ItemOut]:
        """All but the first `done`."""
        ...


class Workspace:
    """Named arrays in `folder`; without one in a temporary folder that goes with this object.

    A name is of letters, digits and underscores. What is read back are views of the file: many of them need no memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp()) if folder is None else folder
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep `arrays` under `name`, instead of what was kept there."""
        with table_file(self.folder.parent, f"{self.folder.name}/{self._file(name).name}") as temporary:
            save_safetensors(arrays, temporary)

    def saved(self, name: str) -> dict[str, np.ndarray] | None:
        """What is kept under `name`, None where nothing is."""
        file = self._file(name)
        return mmap_safetensors(file) if file.exists() else None

    def each(
        self, name: str, batches: Iterable[Item], work: Callable[[Item], Mapping[str, np.ndarray]]
    ) -> Iterator[dict[str, np.ndarray]]:
        """`work` of each of `batches`, in order, kept as it is done: what an earlier run kept is not done again.

        Nothing of it may hang on the batches before.
        """
        done = 0
        while (kept := self.saved(_numbered(name, done))) is not None:
            yield kept
            done += 1
        rest = batches.after(done) if isinstance(batches, Resumable) else _without(batches, done)
        for number, batch in enumerate(rest, start=done):
            self.save(_numbered(name, number), work(batch))
            yield self.saved(_numbered(name, number)) or {}

    def remove(self) -> None:
        """Remove all that is kept; a file of somebody else's stays."""
        if not self.folder.is_dir() or self.folder.is_symlink():
            return
        for file in self.folder.iterdir():
            if _FILE.fullmatch(file.name):
                file.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _file(self, name: str) -> Path:
        if not _FILE.fullmatch(f"{name}.safetensors"):
            raise ValueError(f"want a name of letters, digits and underscores, got {name!r:.80}")
        return self.folder / f"{name}.safetensors"


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number:08d}"


def _without(batches: Iterable[Item], done: int) -> Iterator[Item]:
    return (batch for number, batch in enumerate(batches) if number >= done)
