"""The rows of a corpus as a proxy takes them: whole, in memory, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datapruner.corpus.chunks import Chunk
from datapruner.corpus.source import Source
from datapruner.corpus.uids import hash64_bytes
from datapruner.evaluation.proxy import Proxy, Rows
from datapruner.scoring.score_table import ScoreTable


@dataclass(frozen=True, eq=False)
class Corpora:
    """Rows to train on and rows to judge by; of the first also groups, and what each costs where tokens are spent.

    `strata` are what a stratified draw goes by: labels where the source has them, else groups; None without either.
    """

    train: Rows
    test: Rows
    groups: Mapping[str, Sequence[str]]
    tokens: np.ndarray
    n_shared: int

    @property
    def strata(self) -> Sequence[str] | None:
        return next(iter(self.groups.values()), None)


def load_corpora(train: Source, test: Source, proxy: Proxy, tables: tuple[ScoreTable, ScoreTable | None]) -> Corpora:
    """Both corpora, of which `tables` have the vectors that they lack; raises ValueError where the proxy cannot be
    trained or judged on them."""
    wanted = _needs(proxy)
    for source, name in ((train, "source"), (test, "test")):
        missing = [part for part in sorted(wanted) if not source.has(part)]
        if missing:
            raise ValueError(f"the proxy wants {missing[0]}: name the field of {name} that holds them")
    one, two = (_read(source, proxy, table) for source, table in zip((train, test), tables, strict=True))
    groups = {name: values for name, values in (("label", one.names), ("group", one.groups)) if values}
    classes = _classes(one.labels)
    tokens = tables[0].read("rows", "tokens").to_numpy()
    return Corpora(one.rows(classes), two.rows(classes), groups, tokens, _n_shared(one, two))


def load_rows(source: Source, proxy: Proxy) -> Rows:
    """The rows of `source` alone, for a proxy that reads nothing else."""
    found = _read(source, proxy, None)
    return found.rows(_classes(found.labels))


def _read(source: Source, proxy: Proxy, table: ScoreTable | None) -> _Parts:
    columns = set(table.vector_columns if table is not None else ()) & {*proxy.vector_names()}
    parts = _Parts(_needs(proxy), [name for name in proxy.vector_names() if name not in columns])
    for chunk in source.identified(parts.vectors):
        parts.add(source, chunk)
    for name in sorted(columns):
        parts.of_vectors[name] = _column_vectors(table, name)
    return parts


def _needs(proxy: Proxy) -> set[str]:
    """Images stand for themselves only where no vectors do."""
    return {part for part in proxy.needs if part != "images" or not proxy.vector_names()}


class _Parts:
    """What was read of a corpus so far."""

    def __init__(self, wanted: set[str], vectors: Sequence[str]) -> None:
        self.wanted, self.vectors = wanted, [*vectors]
        self.uids: list[str] = []
        self.texts: list[str] = []
        self.images: list[bytes] = []
        self.labels: list[str | int] = []
        self.groups: list[str] = []
        self.of_vectors: dict[str, list[np.ndarray]] = {name: [] for name in vectors}

    def add(self, source: Source, chunk: Chunk) -> None:
        self.uids += chunk.uids
        self.labels += chunk.labels or []
        self.groups += chunk.groups or []
        if "texts" in self.wanted:
            self.texts += chunk.texts
        if "images" in self.wanted:
            self.images += chunk.images or []
        for name in self.vectors:
            self.of_vectors[name].append(source.vectors(chunk, name))

    @property
    def names(self) -> list[str]:
        return [*map(str, self.labels)]

    def rows(self, classes: Sequence[str | int]) -> Rows:
        labels = None
        if self.labels and "labels" in self.wanted:
            number = {name: place for place, name in enumerate(classes)}
            unknown = next((label for label in self.labels if label not in number), None)
            if unknown is not None:
                raise ValueError(f"the held-out corpus has the label {unknown!r:.80}, the other has no such row")
            labels = np.array([number[label] for label in self.labels], np.int64)
        return Rows(
            self.uids,
            self.texts if "texts" in self.wanted else None,
            self.images if "images" in self.wanted else None,
            labels,
            classes,
            {name: np.concatenate(parts) for name, parts in self.of_vectors.items()},
        )

    def content(self) -> Iterable[bytes] | None:
        """What two equal rows have in common."""
        if self.texts:
            return (text.encode() for text in self.texts)
        if self.images:
            return self.images
        return (row.tobytes() for part in next(iter(self.of_vectors.values()), []) for row in part)


def _column_vectors(table: ScoreTable | None, name: str) -> list[np.ndarray]:
    return [] if table is None else [table.vectors(name, number) for number in range(table.manifest["chunks"] or 0)]


def _classes(labels: Sequence[str | int]) -> list[str | int]:
    """Names in their order; whole numbers from 0 up to the largest, as scorers of logits count them."""
    found = set(labels)
    if all(isinstance(label, int) for label in found):
        numbers = [label for label in found if isinstance(label, int)]
        if numbers and min(numbers) < 0:
            raise ValueError(f"want labels as names or whole numbers of at least 0, got {min(numbers)}")
        return [*range(max(numbers, default=-1) + 1)]
    if any(isinstance(label, int) for label in found):
        raise ValueError("want labels that are all names or all whole numbers, got both")
    return sorted(found)


def _n_shared(train: _Parts, test: _Parts) -> int:
    """How many held-out rows stand among those to train on."""
    ours, theirs = (hash64_bytes(parts.content() or ()) for parts in (train, test))
    return int(np.isin(theirs, ours).sum())
