"""What an input is: the size and BLAKE2b hash of each file, in order. Names are recorded, not compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from datapruner.source import Source


class File(TypedDict):
    """One input file as the manifest has it."""

    name: str
    bytes: int
    blake2b: str


def fingerprint(source: Source) -> list[File]:
    """Read every file of `source` once and hash it."""
    return [File(name=path.name, bytes=path.stat().st_size, blake2b=digest(path)) for path in source.files()]


def digest(path: Path) -> str:
    """BLAKE2b of the file's bytes, 32 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def difference(recorded: Sequence[File], found: Sequence[File]) -> str | None:
    """Why two fingerprints are not of one input, or None where they are."""
    if len(recorded) != len(found):
        return f"it was made from {len(recorded)} files, the input has {len(found)}"
    for old, new in zip(recorded, found, strict=True):
        if old["bytes"] != new["bytes"]:
            return f"{new['name']} has {new['bytes']} bytes, recorded are {old['bytes']} ({old['name']})"
        if old["blake2b"] != new["blake2b"]:
            return f"the content of {new['name']} is not that which was recorded ({old['name']})"
    return None


def stamps(source: Source) -> list[tuple[int, int]]:
    """Sizes and modification times: a cheap look whether a file was changed while it was read."""
    return [(path.stat().st_size, path.stat().st_mtime_ns) for path in source.files()]
