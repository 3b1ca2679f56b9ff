"""What is known of documents whatever is asked: units, terms and vectors, kept from one question to the next.

Least recently used entries go first when the entries are over `max_bytes` together. With a `folder` arrays are kept on
disk, too, one safetensors file an entry, which no bound deletes. A key is a digest of all that an entry hangs on: the
document, its units, the labeler and the identity of its model; so an entry is right wherever it is found, and a file
that cannot be read is computed anew. A folder is trusted as the one of a model is: give nobody else's.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock

import numpy as np

from prunekernels.io.outputs import atomic_file
from prunekernels.io.paths import read_regular

# what a labeler keeps of one document
Encoded = Mapping[str, np.ndarray]

MAX_BYTES = 256 << 20
# a file that is larger is not read
MOST_READ = 4 << 30


class DocumentCache:
    """A bounded store; several threads may share it, and several processes its folder."""

    def __init__(self, max_bytes: int = MAX_BYTES, folder: str | Path | None = None) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:
            raise ValueError(f"max_bytes wants an integer of at least 0, got {max_bytes!r}")
        self.max_bytes = max_bytes
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.n_bytes = 0
        self._entries: OrderedDict[str, tuple[object, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> object | None:
        """The entry of `key` in memory, None where there is none."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: str, value: object, n_bytes: int) -> None:
        """Keep `value`, which takes about `n_bytes`, in memory; one over the bound is not kept."""
        with self._lock:
            self.n_bytes += n_bytes - self._entries.pop(key, (None, 0))[1]
            self._entries[key] = (value, n_bytes)
            while self.n_bytes > self.max_bytes:
                self.n_bytes -= self._entries.popitem(last=False)[1][1]

    def get_arrays(self, key: str) -> Encoded | None:
        """The arrays of `key`, of memory or of the folder, None where there are none."""
        found = self.get(key)
        if found is None and self.folder is not None:
            found = _read(self.folder / f"{key}.safetensors")
            if found is not None:
                self._keep(key, found)
        return found  # type: ignore[return-value]

    def put_arrays(self, key: str, arrays: Encoded) -> None:
        """Keep `arrays`, in memory and in the folder."""
        self._keep(key, arrays)
        if self.folder is not None:
            from safetensors.numpy import save_file

            with atomic_file(self.folder / f"{key}.safetensors", replaces=True) as temporary:
                save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)

    def _keep(self, key: str, arrays: Encoded) -> None:
        self.put(key, arrays, sum(array.nbytes for array in arrays.values()))


def key_of(parts: Iterable[str]) -> str:
    """A digest of `parts`, in hex: the same for the same parts alone."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _read(file: Path) -> Encoded | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(read_regular(file, MOST_READ))
    except (OSError, ValueError, SafetensorError):
        return None
