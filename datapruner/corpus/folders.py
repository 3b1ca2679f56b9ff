"""The files of a folder or a glob, in the order of their paths. Hidden ones are left out, dangling links are told."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path


def files_of(folder: Path, nested: bool = False) -> list[Path]:
    """The regular files in `folder`; `nested`: also those of the folders inside, however deep.

    Raises FileNotFoundError for a link to nothing, ValueError for a link to a folder that would have to be entered.
    """
    found: list[Path] = []
    with os.scandir(folder) as listed:
        entries = sorted((entry for entry in listed if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        path = folder / entry.name
        if entry.is_symlink():
            found += _existing([path])
            # it may lead back to where it lies
            if nested and entry.is_dir():
                raise ValueError(f"{path}: want folders, got a link to one: name {os.readlink(path)} itself")
        elif entry.is_file():
            found.append(path)
        elif nested and entry.is_dir():
            found += files_of(path, nested)
    return found


def is_glob(path: Path) -> bool:
    """Whether `path` stands for several."""
    return glob.has_magic(str(path))


def matches(pattern: Path) -> list[Path]:
    """The files that match `pattern`, where ** stands for any folders; raises FileNotFoundError where there is none."""
    found = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]
    files = _existing(path for path in found if not path.is_dir())
    if not files:
        raise FileNotFoundError(f"{pattern}: no such file, and no file that matches it")
    return files


def _existing(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise FileNotFoundError(f"{path}: a link to {os.readlink(path)}, which is not there")
        if path.is_file():
            found.append(path)
    return found
