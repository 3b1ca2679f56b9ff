"""The last results, by a name: what is asked of a result later, the result has to be there for."""

from __future__ import annotations

from collections import OrderedDict

from contextpruner.results.result import Result

MOST, CHARACTERS = 512, 50_000_000


class Remembered:
    """At most `most` results, with at most `characters` of documents; the oldest go first."""

    def __init__(self, most: int = MOST, characters: int = CHARACTERS) -> None:
        self.most, self.characters = most, characters
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._size = 0

    def put(self, name: str, result: Result) -> None:
        """Remember `result`; one that is too large by itself is not."""
        if (known := self._results.pop(name, None)) is not None:
            self._size -= _size(known)
        self._results[name] = result
        self._size += _size(result)
        while len(self._results) > self.most or self._size > self.characters:
            self._size -= _size(self._results.popitem(last=False)[1])

    def get(self, name: str) -> Result | None:
        """The result of that name, if it is remembered."""
        return self._results.get(name)


def _size(result: Result) -> int:
    return sum(len(document.original) for document in result.documents)
