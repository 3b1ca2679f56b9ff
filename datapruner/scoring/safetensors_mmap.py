"""Arrays of a safetensors file as views of it: nothing is read before it is looked at, and processes share pages.

The format is eight bytes with the length of a JSON header, the header, and the arrays one after another.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

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


def mmap_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of `path`; what is written into them stays in this process."""
    # copy on write: torch wants arrays that can be written
    data = np.memmap(path, np.uint8, "c").view(np.ndarray)
    start = 8 + int(data[:8].view("<u8")[0])
    arrays = {}
    for name, entry in json.loads(data[8:start].tobytes()).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _TYPES:
            raise ValueError(f"{path}: want arrays of {', '.join(_TYPES)}, got {entry['dtype']} for {name!r}")
        first, last = entry["data_offsets"]
        arrays[name] = data[start + first : start + last].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays
