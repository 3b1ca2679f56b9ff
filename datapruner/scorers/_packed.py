"""Documents packed into sequences of one length, as a language model is trained on them.

Documents stand one after another in the order of their keys and are cut every `size` tokens, wherever that falls.
Tokens lie in a nameless temporary file, 4 bytes each; memory is 32 bytes a row and 8 a sequence.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

import numpy as np

# sequences that are scored in one call
TOGETHER = 64


class Packed:
    """The documents of a corpus; a context manager, whose end removes the file."""

    def __init__(self, size: int) -> None:
        self.size, self.file = size, tempfile.TemporaryFile()  # noqa: SIM115 - closed by the context manager
        self.rows, self.keys, self.lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]

    def __enter__(self) -> Packed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.file.close()

    @property
    def n_rows(self) -> int:
        return sum(map(len, self.rows))

    def add(self, rows: np.ndarray, keys: np.ndarray, documents: Sequence[list[int]], ends: list[int]) -> None:
        """`rows` int64 and `keys` uint64 [n] of documents of token ids; `ends` stand behind each."""
        self.rows.append(rows)
        self.keys.append(keys)
        self.lengths.append(np.array([len(ids) + len(ends) for ids in documents], dtype=np.int64))
        self.file.write(np.array([token for ids in documents for token in (*ids, *ends)], dtype=np.int32).tobytes())

    def row_means(self, means: Callable[[list[list[int]]], list[float]]) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers, and for each the mean over its tokens of `means` of the sequences they are in, float64.

        `means` takes sequences of at least 2 tokens. NaN for a row without tokens, and where there is no sequence.
        """
        rows, keys, lengths = map(np.concatenate, (self.rows, self.keys, self.lengths))
        order = np.argsort(keys, kind="stable")
        starts = np.append(0, np.cumsum(lengths))
        found: list[float] = []
        waiting: list[list[int]] = []
        for sequence in self._sequences(starts[order], lengths[order]):
            # a single token predicts nothing: it goes with the sequence before it
            if len(sequence) > 1:
                waiting.append(sequence)
            if len(waiting) == TOGETHER:
                found += means(waiting)
                waiting = []
        found += means(waiting) if waiting else []
        if not found:
            return rows, np.full(len(rows), np.nan)
        ends = np.cumsum(lengths[order])
        sums = self._integral(np.array(found), ends) - self._integral(np.array(found), ends - lengths[order])
        result = np.full(len(rows), np.nan)
        has_tokens = lengths[order] > 0
        result[order[has_tokens]] = sums[has_tokens] / lengths[order][has_tokens]
        return rows, result

    def _integral(self, found: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The sum over all tokens before each of `places` of the mean of their sequence."""
        number = np.minimum(places // self.size, len(found) - 1)
        before = np.append(0, np.cumsum(found * self.size))
        return before[number] + (places - number * self.size) * found[number]

    def _sequences(self, starts: np.ndarray, lengths: np.ndarray) -> Iterator[list[int]]:
        self.file.flush()
        if not lengths.sum():
            return
        tokens, held = np.memmap(self.file, np.int32, "r"), np.zeros(0, np.int32)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            held = np.concatenate([held, tokens[start : start + length]])
            while len(held) >= self.size:
                yield held[: self.size].tolist()
                held = held[self.size :]
        if len(held):
            yield held.tolist()
