"""What a selector decided, for every row of the corpus, and how it came to be; one Parquet file on disk."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from datapruner.extras import require
from datapruner.files import replacing
from datapruner.table import Column, Input

if TYPE_CHECKING:
    import pyarrow as pa

_KEY = b"prunekit.selection"


class Step(TypedDict):
    """One use of a selector."""

    selector: str
    by: str | None
    keep_ratio: float | None
    per: str | None
    rows: int
    kept: int
    column: Column | None


@dataclass(frozen=True, eq=False)
class Selection:
    """Decisions in the order of the corpus.

    `uids` string [n]; `codes` int32 [n], -1 for a kept row, else the number of its reason in `reasons`; `scores`
    the columns that were selected by, float32 [n]; `input` what the corpus was; `steps` the selectors in order.
    """

    uids: pa.ChunkedArray
    codes: np.ndarray
    reasons: tuple[str, ...]
    scores: dict[str, np.ndarray]
    input: Input
    steps: tuple[Step, ...]

    @property
    def n_rows(self) -> int:
        """Rows of the corpus."""
        return len(self.codes)

    @property
    def n_kept(self) -> int:
        """Rows that are kept."""
        return int((self.codes < 0).sum())

    @property
    def kept(self) -> np.ndarray:
        """Row numbers of the kept rows, ascending int64."""
        return np.flatnonzero(self.codes < 0)

    @property
    def dropped(self) -> np.ndarray:
        """Row numbers of the dropped rows, ascending int64."""
        return np.flatnonzero(self.codes >= 0)

    @property
    def kept_uids(self) -> list[str]:
        """Uids of the kept rows in the order of the corpus."""
        return self.uids.filter(require("pyarrow").array(self.codes < 0)).to_pylist()

    def reason(self, row: int) -> str | None:
        """Why row number `row` is dropped, None where it is kept."""
        return None if self.codes[row] < 0 else self.reasons[self.codes[row]]

    def counts(self) -> dict[str, int]:
        """How many rows were dropped for each reason."""
        counted = np.bincount(self.codes[self.codes >= 0], minlength=len(self.reasons))
        return dict(zip(self.reasons, counted.tolist(), strict=True))

    def save(self, path: str | Path) -> None:
        """Write one Parquet file with row, uid, kept, reason and the scores; it appears whole."""
        pa, pq = require("pyarrow"), require("pyarrow.parquet")
        codes = pa.array(self.codes, mask=self.codes < 0)
        columns: dict[str, object] = {
            "row": np.arange(self.n_rows, dtype=np.int64),
            "uid": self.uids,
            "kept": self.codes < 0,
            "reason": pa.DictionaryArray.from_arrays(codes, pa.array(self.reasons, pa.string())),
        }
        columns.update({f"score_{name}": values for name, values in self.scores.items()})
        about = {"reasons": self.reasons, "input": self.input, "steps": self.steps}
        table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(about, sort_keys=True)})
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def load(cls, path: str | Path) -> Selection:
        """Read what `save` wrote; raises ValueError where `path` is something else."""
        pa, pq = require("pyarrow"), require("pyarrow.parquet")
        try:
            table = pq.read_table(path, partitioning=None)
            about = json.loads((table.schema.metadata or {})[_KEY])
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file") from None
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is no selection: want the file that `select` wrote") from error
        numbers = {text: number for number, text in enumerate(about["reasons"])}
        reason = table.column("reason").combine_chunks().dictionary_encode()
        known = [numbers[text] for text in reason.dictionary.to_pylist()]
        codes = np.append(np.array(known, dtype=np.int32), np.int32(-1))[
            reason.indices.fill_null(len(known)).to_numpy()
        ]
        prefix = "score_"
        scores = {n[len(prefix) :]: table.column(n).to_numpy() for n in table.column_names if n.startswith(prefix)}
        steps = tuple(about["steps"])
        return cls(table.column("uid"), codes, tuple(about["reasons"]), scores, about["input"], steps)


def join(earlier: Selection, rows: np.ndarray, later: Selection) -> Selection:
    """`later` was selected from `rows`, those that `earlier` keeps: the drops of both, in the earlier's order."""
    texts = list(dict.fromkeys([*earlier.reasons, *later.reasons]))
    renumber = np.array([texts.index(text) for text in later.reasons] + [-1], dtype=np.int32)
    codes = earlier.codes.copy()
    codes[rows] = renumber[later.codes[rows]]
    scores = {**earlier.scores, **later.scores}
    steps = (*earlier.steps, *later.steps)
    return dataclasses.replace(later, codes=codes, reasons=tuple(texts), scores=scores, steps=steps)
