"""What a selector decided, for every row of the corpus, and how it came to be."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapruner.corpus.remote_outputs import local_path, remote_copy, url_of
from datapruner.selection import selection_file
from datapruner.selection.groups import counts, smallest_type
from datapruner.selection.selection_file import StoredSelection
from datapruner.selection.uid_column import uid_slices


@dataclass(frozen=True, eq=False)
class Selection(StoredSelection):
    """Decisions in the order of the corpus, with what can be asked of them; one Parquet file on disk."""

    @property
    def n_kept(self) -> int:
        """Rows that are kept."""
        return int(np.count_nonzero(self.codes < 0))

    @property
    def kept(self) -> np.ndarray:
        """Row numbers of the kept rows, ascending int64."""
        return np.flatnonzero(self.codes < 0)

    @property
    def dropped(self) -> np.ndarray:
        """Row numbers of the dropped rows, ascending int64."""
        return np.flatnonzero(self.codes >= 0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the steps warn of."""
        return tuple(text for step in self.steps for text in step["warnings"])

    @property
    def kept_uids(self) -> list[str]:
        """Uids of the kept rows in the order of the corpus."""
        found: list[str] = []
        for start, uids in uid_slices(self.uids, 0, self.n_rows):
            places = np.flatnonzero(self.codes[start : start + len(uids)] < 0)
            found += uids.take(places).to_pylist()
        return found

    def uid(self, row: int) -> str:
        """Uid of row number `row`."""
        return self.uid_range(row, row + 1)[0]

    def uid_range(self, start: int, stop: int) -> list[str]:
        """Uids of the rows from `start` up to `stop`, read from the score table or the file."""
        if not 0 <= start <= stop <= self.n_rows:
            raise ValueError(f"want rows of [0, {self.n_rows}], got [{start}, {stop}]")
        return [uid for _, uids in uid_slices(self.uids, start, stop) for uid in uids.to_pylist()]

    def reason(self, row: int) -> str | None:
        """Why row number `row` is dropped, None where it is kept."""
        return None if self.codes[row] < 0 else self.reasons[self.codes[row]]

    def said(self, start: int, stop: int) -> dict[str, list[object]]:
        """What scorers say beside their scores of the rows from `start` up to `stop`, by name; None where nothing."""
        return {
            name: [value for _, block in uid_slices(column, start, stop) for value in block.to_pylist()]
            for name, column in self.details.items()
        }

    def counts(self) -> dict[str, int]:
        """How many rows were dropped for each reason."""
        counted = counts(self.codes[self.codes >= 0], len(self.reasons)).tolist()
        return dict(zip(self.reasons, counted, strict=True))

    def save(self, path: str | Path) -> None:
        """Write one Parquet file with row, uid, kept, reason, the scores and weights; it appears whole.

        `path` may be a URL that fsspec knows.
        """
        if (url := url_of(path)) is None:
            selection_file.save(self, local_path(path))
            return
        with remote_copy(url) as made:
            selection_file.save(self, made)

    @classmethod
    def load(cls, path: str | Path) -> Selection:
        """Read what `save` wrote; raises ValueError where `path` is something else, or a URL."""
        if (url := url_of(path)) is not None:
            raise ValueError(f"{url}: want a selection on this machine: copy it here first")
        return cls(**vars(selection_file.load(local_path(path))))


def join(earlier: Selection, later: Selection) -> Selection:
    """`later` was selected from the rows that `earlier` keeps: the drops of both, in the earlier's order."""
    texts = list(dict.fromkeys([*earlier.reasons, *later.reasons]))
    place = {text: number for number, text in enumerate(texts)}
    kind = smallest_type(max(1, len(texts)), signed=True)
    renumber = np.array([place[text] for text in later.reasons] + [-1], dtype=kind)
    codes = renumber[later.codes]
    gone = earlier.codes >= 0
    codes[gone] = earlier.codes[gone]
    return dataclasses.replace(
        later,
        codes=codes,
        reasons=tuple(texts),
        scores={**earlier.scores, **later.scores},
        details={**earlier.details, **later.details},
        steps=(*earlier.steps, *later.steps),
        weights=_joined(earlier.weights, later.weights, codes < 0),
    )


def _joined(earlier: np.ndarray | None, later: np.ndarray | None, kept: np.ndarray) -> np.ndarray | None:
    """A row stands for as many as the later step says, each of which stood for others already."""
    if earlier is None or later is None:
        given = earlier if later is None else later
        return given if given is None else given * kept
    return earlier * later
