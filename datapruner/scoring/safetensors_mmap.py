"""Arrays in a safetensors file, read as views of it: processes share its pages, what is written stays in one of them.

The format is eight bytes with the length of a JSON header, the header, and the arrays one after another. The header
holds a CRC-32 of the whole file, taken with question marks in its place, which is compared when the file is opened.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prunekernels.io.json_files import Fields, parse_object
from prunekernels.io.paths import open_regular

_TYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}
_ABOUT, _UNKNOWN = "__metadata__", "????????"
_SEAL = re.compile(rb'"crc32":"([0-9a-f?]{8})"')
_LONGEST_HEADER = 1 << 24


def save_safetensors(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write `arrays` to `path` with their checksum."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, {"crc32": _UNKNOWN})
    data = np.memmap(path, np.uint8, "r")
    at, _ = _seal(data, path)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"%08x" % zlib.crc32(data.data))


def mmap_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of `path`; raises ValueError where it is not as `save_safetensors` wrote it."""
    with open_regular(path):
        # copy on write: torch wants arrays that can be written
        data = np.memmap(path, np.uint8, "c").view(np.ndarray)
    at, start = _seal(data, path)
    crc = zlib.crc32(data[at + 8 :].data, zlib.crc32(_UNKNOWN.encode(), zlib.crc32(data[:at].data)))
    if data[at : at + 8].tobytes() != b"%08x" % crc:
        raise ValueError(f"{path}: its bytes are not those that were written")
    header = Fields(parse_object(data[8:start].tobytes(), str(path)), str(path))
    return {name: _array(data[start:], header.fields(name)) for name in header.values if name != _ABOUT}


def _array(data: np.ndarray, entry: Fields) -> np.ndarray:
    kind = np.dtype(_TYPES[entry.text("dtype", [*_TYPES])])
    first, last = (int(number) for number in entry.numbers("data_offsets", minimum=0, maximum=len(data)))
    shape = [int(number) for number in entry.numbers("shape", minimum=0)]
    size = kind.itemsize
    for number in shape:
        size *= number
    if last - first != size:
        raise ValueError(f"{entry.place}: want {size:,} bytes for {shape}, got {last - first:,}")
    return data[first:last].view(kind).reshape(shape)


def _seal(data: np.ndarray, path: Path) -> tuple[int, int]:
    """Where the checksum stands, and where the arrays begin."""
    start = 8 + int(data[:8].view("<u8")[0]) if len(data) >= 8 else 0
    found = _SEAL.search(data[8 : min(start, _LONGEST_HEADER)].tobytes()) if 8 < start <= len(data) else None
    if found is None:
        raise ValueError(f"{path}: want safetensors with a checksum, as datapruner writes them")
    return 8 + found.start(1), start
