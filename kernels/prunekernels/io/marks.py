"""What bears our mark may be replaced: a folder says in `.prunekit.json` what wrote it and what it held then."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from prunekernels.io.json_files import Fields
from prunekernels.io.paths import walk

MARK, FORMAT = ".prunekit.json", 1


def write_mark(folder: Path, kind: str) -> None:
    """Mark `folder`, which is complete, as a `kind`, say "datapruner output"."""
    held = {"format": FORMAT, "kind": kind, "entries": dict(sorted(_entries(folder).items()))}
    (folder / MARK).write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


def check_mark(folder: Path, kind: str) -> None:
    """Raise ValueError unless `folder` was written as a `kind` and nothing was put into it since."""
    if not (folder / MARK).is_file():
        raise ValueError(f"{folder} is not empty, and no {kind}: want a new folder, or remove it yourself")
    mark = Fields.read(folder / MARK)
    mark.format(FORMAT)
    if mark.text("kind") != kind:
        raise ValueError(f"{folder} is a {mark.text('kind')!a:.80}, and no {kind}: want a new folder")
    written = mark.fields("entries")
    for name, count in sorted(_entries(folder).items()):
        # names that are no text of JSON are stored as they are compared
        if name not in written.values:
            raise ValueError(f"{folder} holds {name!a:.120}, which was not written with the rest: move it away first")
        if count > written.integer(name):
            raise ValueError(f"{folder / name} holds files that were not written with the rest: move them away first")


def has_mark(mark: bytes, within: int = 4096) -> Callable[[Path], bool]:
    """A test whether a file has `mark` among its first bytes, say `<meta name="generator" content="prunekit`."""

    def test(path: Path) -> bool:
        with open(path, "rb") as file:
            return mark in file.read(within)

    return test


def _entries(folder: Path) -> dict[str, int]:
    """How many files stand below each name in `folder`: 1 for a file; names as ASCII."""
    found = {}
    for entry in os.scandir(folder):
        if entry.name != MARK:
            is_folder = entry.is_dir(follow_symlinks=False)
            found[ascii(entry.name)[1:-1]] = (
                sum(len(names) for _, _, names in walk(Path(entry.path))) if is_folder else 1
            )
    return found
