"""What an input is, file by file: the size and BLAKE2b hash of each file, in order. Names are recorded, not compared.

A remote file is known by the hash that its server gives (an etag) where there is one, else it is read. Data sets and
arrays are known by their rows, a hub data set at a full commit hash by that, an image folder by paths and files, and
what is read up to a limit alone by the rows before it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NotRequired, TypedDict

from datapruner.corpus.field_values import named_image
from datapruner.corpus.format import ReadOptions
from datapruner.corpus.formats import in_memory
from datapruner.corpus.formats.image_folder import ImageFolder
from datapruner.corpus.formats.in_memory import HubDataset, InMemoryDataset
from datapruner.corpus.fragments import Fragment, format_of
from datapruner.corpus.remote_files import RemoteFile, open_file
from datapruner.corpus.source import Source
from prunekernels.extras import require
from prunekernels.io.paths import open_regular

# what file systems call a hash of the content
ETAGS = ("ETag", "etag", "md5Hash", "md5", "content_hash", "sha256")


class FileFingerprint(TypedDict):
    """One input file as the manifest has it.

    `of` says what was hashed where it is not the bytes of the file; `images` is a hash of the images that its rows
    name, where they do.
    """

    name: str
    bytes: int
    blake2b: str
    of: NotRequired[str]
    images: NotRequired[str]


def fingerprint(source: Source) -> list[FileFingerprint]:
    """Read every file of `source` once and hash it; of a source with a limit no more than its rows."""
    if source.limit is not None:
        return [_first_rows(source)]
    return [_with_named_images(_identify(fragment), source, fragment) for fragment in source.files()]


def is_on_disk(source: Source) -> bool:
    """Whether `source` is whole files of this machine, which can be hashed beside other work."""
    return source.limit is None and all(isinstance(fragment, Path) for fragment in source.files())


def unhashed(source: Source) -> list[FileFingerprint]:
    """Names and sizes of files on disk, hashes still empty."""
    found = [fragment for fragment in source.files() if isinstance(fragment, Path)]
    return [FileFingerprint(name=fragment.name, bytes=fragment.stat().st_size, blake2b="") for fragment in found]


def digest(path: Path) -> str:
    """BLAKE2b of the bytes of a regular file, 32 hex digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, _blake2b).hexdigest()


def difference(recorded: Sequence[FileFingerprint], found: Sequence[FileFingerprint]) -> str | None:
    """Why two fingerprints are not of one input, or None where they are."""
    if len(recorded) != len(found):
        return f"it was made from {len(recorded)} files, the input has {len(found)}"
    for old, new in zip(recorded, found, strict=True):
        if old.get("of") != new.get("of"):
            ways = [item.get("of", "its bytes") for item in (new, old)]
            return f"{new['name']} is known by {ways[0]}, {old['name']}, which was recorded, by {ways[1]}"
        if old["bytes"] != new["bytes"]:
            return f"{new['name']} has {new['bytes']} bytes, recorded are {old['bytes']} ({old['name']})"
        if old["blake2b"] != new["blake2b"]:
            return f"the content of {new['name']} is not that which was recorded ({old['name']})"
        if old.get("images") != new.get("images"):
            return f"the images that {new['name']} names are not those which were recorded ({old['name']})"
    return None


def stamps(source: Source) -> list[tuple[int, int]]:
    """Sizes and modification times: a cheap look whether a file was changed while it was read."""
    return [stamp for fragment in source.files() for stamp in _stamps(fragment)]


def _stamps(fragment: Fragment) -> Iterable[tuple[int, int]]:
    if isinstance(fragment, Path):
        return [(fragment.stat().st_size, fragment.stat().st_mtime_ns)]
    if isinstance(fragment, ImageFolder):
        found = [(fragment.path / name).stat() for name in fragment.files]
        return [(stat.st_size, stat.st_mtime_ns) for stat in found]
    if isinstance(fragment, RemoteFile):
        about = repr(sorted((key, str(value)) for key, value in fragment.info().items()))
        return [(_size(fragment), int.from_bytes(_blake2b(about.encode()).digest()[:7], "big"))]
    # what is held in memory, or downloaded and cached, changes with the object
    return [(id(fragment.rows), 0)]


def _identify(fragment: Fragment) -> FileFingerprint:
    if isinstance(fragment, Path):
        return FileFingerprint(name=fragment.name, bytes=fragment.stat().st_size, blake2b=digest(fragment))
    if isinstance(fragment, RemoteFile):
        return _remote(fragment)
    if isinstance(fragment, ImageFolder):
        lines = [f"{name}\n{digest(fragment.path / name)}\n" for name in fragment.files]
        size = sum((fragment.path / name).stat().st_size for name in fragment.files)
        return FileFingerprint(
            name=fragment.name, bytes=size, blake2b=_hash(lines), of="paths and hashes of its images"
        )
    return _in_memory(fragment)


def _with_named_images(found: FileFingerprint, source: Source, fragment: Fragment) -> FileFingerprint:
    """Files that rows name instead of holding their bytes are part of the input."""
    field = source.fields()["image"]
    if field is None or isinstance(fragment, ImageFolder):
        return found
    hashed, is_any = _blake2b(), False
    # which rows are skipped hangs on more than the images
    names = [field] if source.on_error == "refuse" else source.names()
    for found_rows in format_of(fragment).read(fragment, source.read_options(), names):
        rows = source.without_bad(found_rows)
        for index, value in enumerate(rows.fields([field])[0]):
            path = named_image(rows, field, index, value)
            if path is not None and isinstance(value, dict):
                hashed.update(f"{value['path']}\n{digest(path)}\n".encode())
                is_any = True
    if is_any:
        found["images"] = hashed.hexdigest()
    return found


def _first_rows(source: Source) -> FileFingerprint:
    hashed, size = _blake2b(), 0
    for chunk in source.raw_chunks():
        # files that rows name instead of holding their bytes are part of the input
        images = (source.parsed(chunk).images or []) if source.has("images") else []
        for content in (*chunk.rows.contents(), *images):
            hashed.update(b"%d:" % len(content))
            hashed.update(content)
            size += len(content)
    name, of = source.files()[0].name, f"its first {source.limit} rows"
    return FileFingerprint(name=name, bytes=size, blake2b=hashed.hexdigest(), of=of)


def _remote(file: RemoteFile) -> FileFingerprint:
    about = file.info()
    etag = next((f"{key} {about[key]}" for key in ETAGS if about.get(key)), None)
    if etag is not None:
        return FileFingerprint(
            name=file.name, bytes=_size(file), blake2b=_hash([etag]), of="the hash that its server gives"
        )
    hashed, size = _blake2b(), 0
    with closing(open_file(file)) as opened:
        while block := opened.read(1 << 20):
            hashed.update(block)
            size += len(block)
    return FileFingerprint(name=file.name, bytes=size, blake2b=hashed.hexdigest())


def _size(file: RemoteFile) -> int:
    size = file.info().get("size")
    return size if isinstance(size, int) else 0


def _in_memory(fragment: InMemoryDataset) -> FileFingerprint:
    rows = fragment.rows
    if isinstance(rows, HubDataset) and re.fullmatch(r"[0-9a-f]{40}", rows.revision or ""):
        about = [f"{rows.path}\n{rows.name}\n{rows.files}\n{rows.split}\n{rows.revision}\n"]
        return FileFingerprint(name=rows.path, bytes=0, blake2b=_hash(about), of="its commit")
    pa = require("pyarrow", "data")
    hashed, size = _blake2b(), 0
    # steps of a fixed size: the hash must not hang on how a reader cuts chunks
    for part in in_memory.read(fragment, ReadOptions(1000, 1 << 62)):
        # taken rows lie in fresh arrays, whatever they were cut from
        table = part.table.take(pa.array(range(len(part)), pa.int64())).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as stream:
            stream.write_table(table.replace_schema_metadata(None))
        hashed.update(sink.getvalue())
        size += table.nbytes
    return FileFingerprint(name=fragment.name, bytes=size, blake2b=hashed.hexdigest(), of="its rows")


def _hash(lines: Iterable[str]) -> str:
    return _blake2b("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _blake2b(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=16)
