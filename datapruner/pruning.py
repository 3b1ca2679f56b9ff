"""`prune`: score, select and write in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datapruner.scorer import Scorer
from datapruner.scoring import named, score
from datapruner.selecting import as_selector, check_keep_ratio, select
from datapruner.selection import Selection
from datapruner.selector import Selector
from datapruner.source import Source, as_source
from datapruner.writer import Output, as_output, check_output, write


def prune(
    source: str | Path | Sequence[str | Path] | Source,
    scorer: str | Scorer,
    selector: str | Selector,
    keep_ratio: float | None,
    out: str | Path | Output,
    per: str | None = None,
) -> Selection:
    """Write what `selector` keeps of `source` by the scores of `scorer` into `out`; returns the selection.

    The score table stays beside it (`Output.scores`), so that a killed run goes on and another keep_ratio scores
    nothing again.
    """
    source, output = as_source(source), as_output(out)
    rule, columns = as_selector(selector), named(scorer)
    check_keep_ratio(rule, keep_ratio)
    check_output(output, source)
    if per is not None and per != source.group:
        raise ValueError(f"want the source's group column as per, got per={per!r} and group={source.group!r}")
    folder = Path(output.scores) if output.scores is not None else Path(f"{output.path}.scores")
    table = score(source, scorer, folder)
    selection = select(table, rule, next(iter(columns)), keep_ratio, per)
    write(source, selection, output)
    return selection
