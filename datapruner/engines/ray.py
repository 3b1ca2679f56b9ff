"""A Ray cluster, or a local Ray where none runs: Ray Data maps the chunks over stateful actors, one `Worker` each.

The actors write the parts into the table's folder themselves, so that every node has to see corpus and table under
the same paths; the calling process only counts. An actor that dies is started again by Ray and its chunks are
done again; parts that are there stay.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from datapruner.scoring.engine import Engine
from datapruner.scoring.progress import ProgressCallback
from datapruner.scoring.worker import ChunkCounts, ScoringTask, Worker, portable_error
from prunekernels.extras import require

# Ray Data's unit, which is done again when its actor dies: more of them cost Ray time, fewer show less progress
BLOCKS = 1000


@dataclass(frozen=True)
class Ray(Engine):
    """Rule: `workers` actors, each with so many `cpus` and `gpus`; 0 workers takes as many as the cluster has room for.

    `address` is that of a cluster; without one it is the Ray that runs, the one that RAY_ADDRESS names, or a new one
    on this machine that ends with this process.
    """

    workers: int = 0
    cpus: float = 1
    gpus: float = 0
    address: str | None = None

    def check(self) -> None:
        if self.workers < 0 or self.cpus < 0 or self.gpus < 0 or self.cpus + self.gpus <= 0:
            raise ValueError(
                f"ray wants workers of at least 0, and cpus or gpus above 0, got {self.workers}, {self.cpus} and "
                f"{self.gpus}"
            )
        require("ray.data", "ray")

    def run(self, task: ScoringTask, chunks: Sequence[int], on_progress: ProgressCallback) -> None:
        self.check()
        ray = require("ray", "ray")
        if not ray.is_initialized():
            # a tool for data tells nobody that it runs
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(self.address, log_to_driver=False, logging_level="warning")
        with _quiet():
            self._map(ray, replace(task.portable(), folder=task.folder.absolute()), chunks, on_progress)

    def _map(self, ray: ModuleType, task: ScoringTask, chunks: Sequence[int], on_progress: ProgressCallback) -> None:
        data = require("ray.data", "ray")
        workers = min(self.workers or self._room(ray.cluster_resources()), len(chunks))
        blocks = min(len(chunks), max(BLOCKS, workers))
        items = data.from_items([{"chunk": chunk} for chunk in chunks], override_num_blocks=blocks)
        items.context.enable_progress_bars = False
        counts = items.map_batches(
            _Actor,
            fn_constructor_args=(task, max(1, int(self.cpus)), Path.cwd()),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )
        for done in counts.iter_batches(batch_size=None, prefetch_batches=0):
            for error, trace in zip(done["error"], done["trace"], strict=True):
                # pandas makes another nothing of None
                if isinstance(error, Exception):
                    raise error from RuntimeError(trace)
            on_progress(float(done["rows"].sum()), int(done["tokens"].sum()))

    def _room(self, resources: dict[str, float]) -> int:
        """How many actors fit."""
        fits = [resources.get("CPU", 0) // self.cpus] if self.cpus else []
        fits += [resources.get("GPU", 0) // self.gpus] if self.gpus else []
        if min(fits) < 1:
            raise ValueError(f"want a Ray cluster with {self.cpus:g} CPUs and {self.gpus:g} GPUs, got {resources}")
        return int(min(fits))


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data tells of its plans on stderr, where our progress is."""
    logger = logging.getLogger("ray.data")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Actor:
    """A `Worker` that Ray holds, with the models it has loaded."""

    def __init__(self, task: ScoringTask, threads: int, folder: Path) -> None:
        # relative paths are meant from where the call was
        if folder.is_dir():
            os.chdir(folder)
        torch.set_num_threads(threads)
        self.task, self.failed = task, False

    @cached_property
    def worker(self) -> Worker:
        return Worker(self.task)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Counts of one chunk, or the error: raised here it would come wrapped in Ray's own."""
        done, error, trace = ChunkCounts(0, 0), None, ""
        # what is left of a failed task would only hold up the error
        if not self.failed:
            try:
                done = self.worker(int(batch["chunk"][0]))
            except Exception as raised:  # noqa: BLE001
                self.failed, error, trace = True, portable_error(raised), traceback.format_exc()
        objects = np.empty(1, dtype=object)
        objects[0] = error
        counts = {"rows": np.array([done.rows]), "tokens": np.array([done.tokens])}
        return {**counts, "error": objects, "trace": np.array([trace])}
