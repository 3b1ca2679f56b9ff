"""Exact budgets: as many rows as were asked, of strata of a score with hard rows cut, and of a score with ties."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np

import datapruner
from benchmarks.data_jobs.comparison import Comparison, Peer, Quality, write_rows


def coverage(folder: Path, scale: float) -> Comparison:
    """Coverage-centric: of AUM scores the hardest 30 % are cut, 10 % are kept evenly over 50 strata."""
    n = int(50_000 * scale)
    aum = np.random.default_rng(0).normal(-2, 3, n).astype(np.float32)
    hardest = set(np.argsort(aum)[: int(0.3 * n)].tolist())
    corpus = write_rows(folder / "aum.jsonl", ({"text": str(i), "aum": float(value)} for i, value in enumerate(aum)))
    table = datapruner.score(corpus, ["aum=field:name=aum"], folder / "aum")

    def quality(kept: list[int]) -> Quality:
        return {"rows kept / wanted": len(kept) / (n // 10), "hardest kept": len(hardest & set(kept)) / n}

    def ours() -> Quality:
        rule = "coverage_centric:beta=0.3,hard=low"
        return quality(datapruner.select(table, rule, "aum", 0.1).kept.tolist())

    def datacull() -> Quality:
        from datacull.data import DCDataset
        from datacull.methods.CCS import CCSDataLoader

        class Rows:
            targets = [0] * n  # noqa: RUF012

            def __len__(self) -> int:
                return n

            def __getitem__(self, at: int) -> tuple[int, int]:
                return at, 0

        with contextlib.redirect_stdout(io.StringIO()):
            loader = CCSDataLoader(DCDataset(Rows()), pruning_rate=0.9, beta=0.3, num_strata=50)
            loader.resample(aum)
        return quality([int(row) for row in loader.subset_indices])

    note = "reads its scores from memory, gives no reasons"
    return Comparison("coverage-centric, 10 % of AUM", f"{n:,} scores", ours, [Peer("datacull", datacull, None, note)])


def strata(folder: Path, scale: float) -> Comparison:
    """Stratified: half of the rows by forgetting events, of which most rows have none."""
    n = int(50_000 * scale)
    events = np.random.default_rng(0).poisson(0.5, n)
    corpus = write_rows(folder / "events.jsonl", ({"text": str(i), "events": int(e)} for i, e in enumerate(events)))
    table = datapruner.score(corpus, ["events=field:name=events"], folder / "events")

    def ours() -> Quality:
        return {"rows kept / wanted": datapruner.select(table, "coverage_centric", "events", 0.5).n_kept / (n / 2)}

    def dprune() -> Quality:
        from datasets import Dataset
        from dprune.pruners import StratifiedPruner

        rows = Dataset.from_dict({"score": events.tolist()})
        return {"rows kept / wanted": len(StratifiedPruner(0.5, num_strata=10).prune(rows)) / (n / 2)}

    return Comparison("stratified, half of forgetting events", f"{n:,} scores", ours, [Peer("dprune", dprune)])
