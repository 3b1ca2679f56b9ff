"""datapruner on a corpus with planted damage: score once, drop near copies, then drop what the model finds hardest."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import datapruner
from demo import assets, corpus

# a row goes if an earlier one shares an estimated 3 of 10 word triples with it; then an eighth goes by perplexity
MAX_SIMILARITY, KEEP_RATIO = 0.3, 0.875


@dataclass(frozen=True)
class Outcome:
    """Rows of one kind: how many there are, and how many each rule dropped."""

    kind: str
    planted: int
    as_copy: int
    as_hard: int
    by_random: int


def run(out: Path, console: Console) -> Path:
    """Prune the corpus into `out`; returns the folder of the pruned dataset."""
    shutil.rmtree(out, ignore_errors=True)
    path, rows = corpus.write_corpus(out)
    source = datapruner.Source(path, uid="id", chunk_rows=100)
    scorers = [f"perplexity:model={assets.smollm2()}", f"near_duplicate:ngram=3,threshold={MAX_SIMILARITY}", "random"]
    table = datapruner.score(source, scorers, out / "scores")
    distinct = datapruner.select(table, f"threshold:maximum={MAX_SIMILARITY}", by="near_duplicate")
    kept = datapruner.select(table, "bottom", by="perplexity", keep_ratio=KEEP_RATIO, within=distinct)
    # the baseline drops as many rows
    random = datapruner.select(table, "top", by="random", keep_ratio=kept.n_kept / kept.n_rows)
    console.print(_table(outcomes(rows, distinct, kept, random), kept))
    datapruner.write(source, kept, datapruner.Output(out / "pruned", scores=out / "scores"))
    return out / "pruned"


def outcomes(
    rows: list[corpus.Row], distinct: datapruner.Selection, kept: datapruner.Selection, random: datapruner.Selection
) -> list[Outcome]:
    """Counts by kind of row, good text last."""
    planted = Counter(row.kind for row in rows)
    gone, all_gone, at_random = (
        corpus.dropped_by_kind(rows, set(selection.dropped.tolist())) for selection in (distinct, kept, random)
    )
    return [
        Outcome(kind, planted[kind], gone[kind], all_gone[kind] - gone[kind], at_random[kind])
        for kind in (*corpus.DAMAGE, "good")
    ]


def _table(rows: list[Outcome], kept: datapruner.Selection) -> Table:
    title = f"What was dropped of {kept.n_rows} rows, of which {kept.n_kept} stay"
    table = Table("rows", title=title, title_justify="left")
    for name in ("planted", "as a near copy", "as too hard", "dropped in all", "random drops"):
        table.add_column(name, justify="right")
    for row in rows:
        dropped = row.as_copy + row.as_hard
        share = f"{dropped} ({100 * dropped / row.planted:.0f} %)"
        table.add_section() if row.kind == "good" else None
        cells = (row.planted, row.as_copy, row.as_hard, share, row.by_random)
        table.add_row("good text" if row.kind == "good" else row.kind, *map(str, cells))
    return table
