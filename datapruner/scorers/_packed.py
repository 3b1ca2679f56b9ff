"""Documents packed into sequences of one length, as a language model is trained on them.

Documents stand one after another in the order of their keys and are cut every `size` tokens, wherever that falls.
Their tokens are views of files, so that memory is some 40 bytes a document and 8 a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# sequences that are scored in one step, which a killed run has to do again at most
TOGETHER = 256


def tokens_of(documents: Sequence[list[int]], end: int | None) -> dict[str, np.ndarray]:
    """Token ids of `documents`, int32 [m], with `end` behind each where there is one, and their lengths, int64 [n]."""
    ends = [] if end is None else [end]
    flat = [token for ids in documents for token in (*ids, *ends)]
    lengths = [len(ids) + len(ends) for ids in documents]
    return {"tokens": np.array(flat, dtype=np.int32), "lengths": np.array(lengths, dtype=np.int64)}


@dataclass(frozen=True)
class Packed:
    """Documents in `parts` as `tokens_of` gives them, each with "keys" uint64 [n] beside."""

    size: int
    parts: Sequence[Mapping[str, np.ndarray]]

    def groups(self) -> Iterator[list[list[int]]]:
        """The sequences in order, some at a time."""
        waiting: list[list[int]] = []
        for sequence in self._sequences():
            waiting.append(sequence)
            if len(waiting) == TOGETHER:
                yield waiting
                waiting = []
        if waiting:
            yield waiting

    def document_means(self, means: np.ndarray) -> np.ndarray:
        """For each document the mean over its tokens of `means` [sequences], which its sequences have; float64 [n].

        NaN for a document without tokens, and where there is no sequence.
        """
        lengths, order = self._lengths(), self._order()
        result = np.full(len(lengths), np.nan)
        if not len(means):
            return result
        ends = np.cumsum(lengths[order])
        sums = self._before(means, ends) - self._before(means, ends - lengths[order])
        known = lengths[order] > 0
        result[order[known]] = sums[known] / lengths[order][known]
        return result

    def _before(self, means: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The sum, over all tokens before each of `places`, of the mean of their sequence."""
        # what is left over counts as of the last one
        number = np.minimum(places // self.size, len(means) - 1)
        whole = np.append(0, np.cumsum(means * self.size))
        return whole[number] + (places - number * self.size) * means[number]

    def _lengths(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.int64), *(part["lengths"] for part in self.parts)])

    def _order(self) -> np.ndarray:
        return np.argsort(
            np.concatenate([np.zeros(0, np.uint64), *(part["keys"] for part in self.parts)]), kind="stable"
        )

    def _sequences(self) -> Iterator[list[int]]:
        """All of them; a last one of a single token, which predicts nothing, is left out."""
        sizes = [len(part["lengths"]) for part in self.parts]
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        starts = [np.cumsum(part["lengths"]) - part["lengths"] for part in self.parts]
        places, lengths = np.concatenate([np.zeros(0, np.int64), *starts]), self._lengths()
        held: list[int] = []
        for document in self._order().tolist():
            start = int(places[document])
            held += self.parts[numbers[document]]["tokens"][start : start + int(lengths[document])].tolist()
            whole = len(held) // self.size * self.size
            yield from (held[at : at + self.size] for at in range(0, whole, self.size))
            held = held[whole:]
        if len(held) > 1:
            yield held
