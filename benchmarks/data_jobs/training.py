"""What training leaves behind: labels that are probably wrong, and the course of logits over epochs."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import torch

from benchmarks.data_jobs.comparison import Comparison, Peer, Quality, recall_precision


def label_errors(folder: Path, scale: float) -> Comparison:
    """Confident learning on out-of-sample logits: one label in twenty is another than the right one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import datapruner

    draw, n, classes = np.random.default_rng(0), int(20_000 * scale), 10
    right = draw.integers(0, classes, n)
    logits = (3 * np.eye(classes)[right] + draw.normal(size=(n, classes))).astype(np.float32)
    is_wrong = draw.random(n) < 0.05
    labels = np.where(is_wrong, (right + draw.integers(1, classes, n)) % classes, right)
    wrong = np.flatnonzero(is_wrong).tolist()
    column = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), classes)
    names = [str(i) for i in range(n)]
    path = folder / "logits.parquet"
    pq.write_table(pa.table({"uid": names, "text": names, "label": labels, "logits": column}), path)
    counter = iter(range(1000))

    def ours() -> Quality:
        source = datapruner.Source(path, uid="uid", label="label")
        table = datapruner.score(source, ["label_error"], folder / f"errors{next(counter)}")
        return recall_precision(datapruner.select(table, "threshold:minimum=0", "label_error").dropped.tolist(), wrong)

    def cleanlab() -> Quality:
        from cleanlab.filter import find_label_issues

        probabilities = torch.from_numpy(logits).softmax(1).numpy()
        issues = find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
        return recall_precision(np.flatnonzero(issues).tolist(), wrong)

    note = "reads nothing from disk and writes no table"
    peers = [Peer("cleanlab", cleanlab, None, note)]
    return Comparison("label errors", f"{n:,} rows, 10 classes", ours, peers)


def recording(folder: Path, scale: float) -> Comparison:
    """AUM while training goes on: ten epochs in another order each, and how far the result is from float64."""
    from datapruner.training.recorder import DynamicsRecorder
    from datapruner.training.uid_slots import uid_keys

    draw, n, classes, epochs = np.random.default_rng(0), int(10_000 * scale), 10, 10
    labels = torch.from_numpy(draw.integers(0, classes, n))
    logits = [torch.from_numpy(draw.normal(size=(n, classes)).astype(np.float32)) for _ in range(epochs)]
    orders = [torch.from_numpy(draw.permutation(n)).split(256) for _ in range(epochs)]
    own = torch.stack([epoch.gather(1, labels[:, None])[:, 0] for epoch in logits]).double()
    others = torch.stack([epoch.scatter(1, labels[:, None], -torch.inf).amax(1) for epoch in logits]).double()
    exact = (own - others).mean(0).numpy()
    counter = iter(range(1000))

    def quality(found: np.ndarray) -> Quality:
        return {"largest error": float(np.abs(found - exact).max())}

    def ours() -> Quality:
        recorder = DynamicsRecorder()
        for epoch, batches in zip(logits, orders, strict=True):
            for rows in batches:
                recorder.log(rows.tolist(), epoch[rows], labels[rows])
        arrays, keys = recorder.record.arrays(), uid_keys(range(n)).view(np.uint64)
        return quality((arrays["margin_sum"] / arrays["presentations"])[recorder.record.slots.find_or_add(keys)])

    def datacull() -> Quality:
        from datacull.data import DCDataset
        from datacull.logger import DCLogger
        from datacull.methods.CCS import AUMImportance

        class Rows:
            targets = labels.tolist()

            def __len__(self) -> int:
                return n

            def __getitem__(self, at: int) -> tuple[int, int]:
                return at, 0

        out = folder / f"log{next(counter)}"
        out.mkdir()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            logger = DCLogger(f"{out}/")
            for number, (epoch, batches) in enumerate(zip(logits, orders, strict=True)):
                for rows in batches:
                    logger.log_metric(number, rows, epoch[rows])
            return quality(AUMImportance(DCDataset(Rows()), epochs, logger).compute_importance())

    note = "takes the margin of probabilities, and keeps all logits"
    peers = [Peer("datacull", datacull, None, note)]
    return Comparison("recording AUM", f"{n:,} rows, 10 epochs", ours, peers)
