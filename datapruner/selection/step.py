"""A step of selecting as it is recorded in a selection, and read back from one that may come from anywhere."""

from __future__ import annotations

from typing import TypedDict

from datapruner.scoring.manifest import Column, read_column
from prunekernels.io.json_files import Fields


class Step(TypedDict):
    """One use of a selector.

    `by` is a column or, in words, the sum of `ranks`, which are weights by column; `column` and `columns` say how
    they were made. `budget` is what was asked, by its one field, and `keep_ratio` the same where that is the ratio
    of rows; `counted_by` the column of its tokens; `quota` and `counts` say how the groups of `per` shared it. The rows
    of so many `tables` shared it; of this one `rows` competed, `kept` of them are kept.
    """

    selector: str
    by: str | None
    ranks: dict[str, float]
    keep_ratio: float | None
    budget: dict[str, float]
    counted_by: str | None
    per: str | None
    quota: str | dict[str, float] | None
    counts: dict[str, int] | None
    tables: int
    rows: int
    kept: int
    column: Column | None
    columns: dict[str, Column]
    warnings: list[str]


def read_step(found: Fields) -> Step:
    """A step as it was recorded; raises ValueError with the place of a value of another kind."""
    found.only(Step.__annotations__)
    rows = found.integer("rows", minimum=0)
    counts = found.fields("counts") if found.has("counts") else None
    quota = found.values.get("quota")
    return Step(
        selector=found.text("selector"),
        by=_text_or_none(found, "by"),
        ranks=_numbers(found, "ranks"),
        keep_ratio=found.number("keep_ratio") if found.has("keep_ratio") else None,
        budget=_numbers(found, "budget"),
        counted_by=_text_or_none(found, "counted_by"),
        per=_text_or_none(found, "per"),
        quota=_numbers(found, "quota") if isinstance(quota, dict) else _text_or_none(found, "quota"),
        counts=None if counts is None else {name: counts.integer(name, minimum=0) for name in counts.values},
        tables=found.integer("tables", minimum=1),
        rows=rows,
        kept=found.integer("kept", minimum=0, maximum=rows),
        column=read_column(found.fields("column")) if found.has("column") else None,
        columns={name: read_column(column) for name, column in found.named("columns").items()},
        warnings=found.texts("warnings"),
    )


def _text_or_none(found: Fields, key: str) -> str | None:
    return found.text(key) if found.has(key) else None


def _numbers(found: Fields, key: str) -> dict[str, float]:
    values = found.fields(key)
    for name in values.values:
        values.number(name)
    # as they are: a count of rows stays a whole number
    return {name: value for name, value in values.values.items() if isinstance(value, int | float)}
