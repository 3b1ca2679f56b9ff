"""Features of a proxy that was trained for some epochs, as a file that the embedder `array` reads by uid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datapruner import Source
from datapruner.evaluation.corpus_rows import load_rows
from datapruner.evaluation.observed import ProxyTraining
from datapruner.evaluation.proxy import PROXIES, LabelledTask, Proxy, Rows
from datapruner.training.uid_slots import uid_keys
from prunekernels import spec
from prunekernels.io.outputs import atomic_file


def proxy_features(source: Source, proxy: str, out: Path, epochs: int, seed: int = 1000) -> Path:
    """The inputs of the proxy's last layer for every row of `source`, with their uids, in `out`; made once."""
    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    built = spec.build(PROXIES, proxy, Proxy)
    rows: Rows = load_rows(source, built)
    task = built.task(rows, rows)
    if not isinstance(task, LabelledTask):
        raise ValueError(f"want a proxy with labels, got {proxy}")
    training = ProxyTraining(task, uid_keys(rows.uids).view(np.uint64), built.rate, epochs)
    features = training.answers(seed)[1]
    with atomic_file(out) as temporary, open(temporary, "wb") as file:
        np.savez(file, vectors=features, uids=np.array(rows.uids))
    return out
