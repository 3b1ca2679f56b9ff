"""The first rows of a corpus, scored in a temporary folder by the code that scores the whole of it.

A scorer is timed with few rows and with more: the difference is the cost of a row, what is left is paid once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datapruner.corpus.source import Source
from datapruner.corpus.text_fields import names_of
from datapruner.recipe.recipe import Rule
from datapruner.scoring.manifest import MANIFEST, ROWS
from datapruner.scoring.score import score
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Scorer
from datapruner.selection.budgets import Per, as_budget
from datapruner.selection.select import as_selector, select
from prunekernels.extras import require

# rows of the samples, and how many seconds one may take for the next to be tried: the first one loads models
SIZES, PATIENCE = (2, 16, 128, 1024), (10.0, 1.0, 1.0, 0.0)


@dataclass(frozen=True)
class Cost:
    """Seconds once and for each row, as `rows` rows showed them; or the problem that they met."""

    rows: int
    once: float = 0.0
    each: float = 0.0
    problem: str | None = None

    def seconds(self, rows: int) -> float | None:
        """The estimate for `rows` rows."""
        return None if self.problem else self.once + self.each * rows


class CostSample:
    """Tables of the first rows of `source` in `folder`, one for each of `SIZES` that there are rows for."""

    def __init__(self, source: Source, columns: Mapping[str, Scorer], folder: Path) -> None:
        self.folder = folder
        used = source.fields()
        # a template is made of fields, the name of a file of none
        fields = [name for field in used.values() if field is not None for name in names_of(field)]
        vectors = {name for name, scorer in columns.items() if scorer.is_vector}
        fields += [name for scorer in columns.values() for name in scorer.vectors() if name not in vectors]
        fields += [name for scorer in columns.values() for field in scorer.fields() for name in names_of(field)]
        self.fields = [*dict.fromkeys(fields)]
        first = next(iter(source.raw_chunks(whole=False, more=self.fields)), None)
        n = 0 if first is None else len(first.rows)
        self.sizes = sorted({min(size, n) for size in SIZES} - {0})
        values = [] if first is None else first.rows.fields(self.fields)
        plain = dataclasses.replace(source, text=used["text"], image=used["image"])
        self.sources = {size: self._source(plain, size, values) for size in self.sizes}

    def cost(self, scorer: str | Scorer) -> Cost:
        """What the column of `scorer` takes; columns that it reads must have been asked for before it."""
        times: list[tuple[int, float]] = []
        for size in self.sizes:
            started = time.perf_counter()
            try:
                score(self.sources[size], scorer, self._table(size))
            except ValueError as error:
                # a scorer may want more rows than the smallest sample has
                problem = " ".join(str(error).split())
                if size == self.sizes[-1] and not times:
                    return Cost(size, problem=problem)
                continue
            times.append((size, time.perf_counter() - started))
            if times[-1][1] > PATIENCE[SIZES.index(size) if size in SIZES else -1]:
                break
        return _cost(times[-2:])

    def bytes_a_row(self) -> float:
        """What a row takes in the score table, the columns that were asked for."""
        sizes = [(size, _size(self._table(size))) for size in self.sizes if self._table(size).exists()]
        if len(sizes) < 2:
            return sizes[0][1] / sizes[0][0] if sizes else 0.0
        (few, small), (many, large) = sizes[-2:]
        return max(0.0, (large - small) / (many - few))

    def kept(self, steps: Sequence[Rule], rows: int) -> int | None:
        """About how many of `rows` rows the steps keep; None where the sample does not say it."""
        left = rows
        for step in steps:
            rule, budget = as_selector(step.selector or "top"), None if step.keep is None else as_budget(step.keep)
            if budget is not None and not budget.counts_tokens:
                left = budget.amount(left)
            elif budget is not None and budget.token_ratio is not None:
                left = round(left * budget.token_ratio)
            elif budget is not None and budget.tokens is not None:
                each = self._tokens_a_row()
                left = left if each is None else min(left, round(budget.tokens / max(each, 1)))
            elif rule.counts:
                counts = step.per.counts if isinstance(step.per, Per) else None
                if counts is None:
                    return None
                left = sum(counts.values())
            else:
                share = self._share(step)
                if share is None:
                    return None
                left = round(left * share)
        return left

    def _share(self, step: Rule) -> float | None:
        for size in reversed(self.sizes):
            try:
                table = ScoreTable(self._table(size), self.sources[size])
                return select(table, step.selector, step.by, None, step.per).n_kept / size
            except ValueError:
                continue
        return None

    def _tokens_a_row(self) -> float | None:
        tables = [self._table(size) for size in self.sizes if (self._table(size) / MANIFEST).exists()]
        counted = ScoreTable(tables[-1]).read(ROWS, "tokens") if tables else None
        return None if counted is None or counted.null_count else float(counted.to_numpy().mean())

    def _source(self, source: Source, size: int, values: Sequence[list[object]]) -> Source:
        pa, pq = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        path = self.folder / f"{size}.parquet"
        columns = {name: column[:size] for name, column in zip(self.fields, values, strict=True)}
        pq.write_table(pa.table(columns), path)
        return dataclasses.replace(source, path=path)

    def _table(self, size: int) -> Path:
        return self.folder / f"{size}.scores"


def _cost(times: Sequence[tuple[int, float]]) -> Cost:
    rows, seconds = times[-1]
    few, before = times[0]
    each = max(0.0, seconds - before) / (rows - few) if rows > few else seconds / rows
    return Cost(rows, max(0.0, seconds - each * rows), each)


def _size(table: Path) -> int:
    return sum(file.stat().st_size for file in table.rglob("*.parquet"))
