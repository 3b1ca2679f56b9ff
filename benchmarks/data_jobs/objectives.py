"""Objectives that a selection is to reach: facility location, and rows of a target's kind."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import numpy as np

from benchmarks.data_jobs.comparison import Comparison, Peer, Quality, write_rows


def facility(folder: Path, scale: float) -> Comparison:
    """A tenth of the rows that stands in for all: the value of f, which greedy is to make as large as it can."""
    from datapruner import Candidates
    from datapruner.corpus.uids import hash64
    from datapruner.selection.candidates import ArrayRows
    from datapruner.selectors.facility_location import FacilityLocation

    draw, n = np.random.default_rng(0), int(5000 * scale)
    vectors = (draw.normal(size=(50, 128))[draw.integers(0, 50, n)] + draw.normal(size=(n, 128))).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def quality(picks: np.ndarray) -> Quality:
        value = float(((1 + unit @ unit[picks].T) / 2).max(1).sum())
        return {"f": value, "rows": len(set(picks.tolist()))}

    def ours() -> Quality:
        rows = ArrayRows(hash64([str(i) for i in range(n)]), arrays={"embedding": vectors})
        return quality(FacilityLocation().select(Candidates(np.zeros(n, np.float32), rows), n // 10).kept)

    def apricot() -> Quality:
        from apricot import FacilityLocationSelection

        similarity = (1 + unit @ unit.T).astype(np.float64) / 2
        rule = FacilityLocationSelection(n // 10, metric="precomputed", optimizer="lazy").fit(similarity)
        return quality(np.array(rule.ranking))

    note = "gives no weights, keeps all pairs in float64"
    peers = [Peer("apricot-select", apricot, None, note)]
    return Comparison("facility location, a tenth", f"{n:,} x 128", ours, peers)


def target(folder: Path, scale: float) -> Comparison:
    """DSIR: one row in ten is of the target's kind; as many are drawn, and how many are of it."""
    import datapruner

    draw, n = random.Random(0), int(5000 * scale)
    words = ["".join(draw.choices("abcdefghiklmnoprstuw", k=draw.randint(2, 9))) for _ in range(5000)]
    weights = [1 / (i + 10) for i in range(5000)]
    # the same words, the target's own order of commonness on a tenth of them
    other = weights[:4500] + weights[:500]

    def text(is_target: bool) -> str:
        return " ".join(draw.choices(words, other if is_target else weights, k=draw.randint(120, 400)))

    kinds = [i % 10 == 0 for i in range(n)]
    raw = write_rows(folder / "raw.jsonl", ({"uid": str(i), "text": text(kind)} for i, kind in enumerate(kinds)))
    examples = write_rows(folder / "target.jsonl", ({"text": text(True)} for _ in range(200)))
    counter = iter(range(1000))

    def quality(kept: list[int]) -> Quality:
        return {"of the target's kind": sum(kinds[row] for row in kept) / (n // 10), "rows": len(kept)}

    def ours() -> Quality:
        source = datapruner.Source(raw, uid="uid")
        table = datapruner.score(source, [f'dsir:target="{examples}"'], folder / f"dsir{next(counter)}")
        return quality(datapruner.select(table, "gumbel", "dsir", 0.1).kept.tolist())

    def data_selection() -> Quality:
        import json

        from data_selection import HashedNgramDSIR

        out = folder / f"theirs{next(counter)}"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            rule = HashedNgramDSIR([str(raw)], [str(examples)], cache_dir=str(out / "cache"), num_proc=1)
            rule.fit_importance_estimator(num_tokens_to_fit="all")
            rule.compute_importance_weights()
            rule.resample(out_dir=str(out / "kept"), num_to_sample=n // 10, cache_dir=str(out / "again"))
        lines = "".join(path.read_text("utf-8") for path in (out / "kept").glob("*.jsonl")).splitlines()
        return quality([int(json.loads(line)["uid"]) for line in lines])

    peers = [Peer("data-selection", data_selection, 5.0)]
    return Comparison("DSIR, a tenth", f"{n:,} texts of 120 to 400 words", ours, peers)
