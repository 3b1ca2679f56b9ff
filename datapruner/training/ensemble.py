"""Logits of several trainings of one function, keyed by uid: what EL2N and its like take the mean over.

    def train(source: Source, seed: int) -> Predict:
        model = ...                                    # as few epochs as the score wants, with this seed
        return lambda batch: model(encode(batch.texts))    # logits [n, C], in evaluation mode

    train_ensemble(train, source, seeds=range(10), out="runs")
    datapruner.score(source, "el2n:ensemble=runs", out="scores")

Each run is a file of the folder, `run-<seed>.safetensors`, with a checksum; a run that is there is not trained again,
so that a killed ensemble goes on with the next seed. Scores of one run are noisy: Paul et al. 2021 (arXiv:2107.07075)
take about ten. For `label_error` the predictions must be out of sample: let `train` leave out a fold and predict it.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from datapruner.corpus.fragments import CorpusLike
from datapruner.corpus.source import Source, as_source
from datapruner.scoring.safetensors_mmap import mmap_safetensors, save_safetensors
from datapruner.scoring.scorer import Batch
from prunekernels.io.outputs import atomic_file

_FILE = re.compile(r"run-(\d+)\.safetensors")


class Predictions(NamedTuple):
    """Logits [n, C] of a batch, and the inputs of the last layer [n, D] where `grand` is wanted."""

    logits: torch.Tensor | np.ndarray
    features: torch.Tensor | np.ndarray | None = None


Predict: TypeAlias = "Callable[[Batch], Predictions | torch.Tensor | np.ndarray]"
Train: TypeAlias = "Callable[[Source, int], Predict]"


def train_ensemble(
    train: Train, source: CorpusLike | Source, seeds: Sequence[int], out: str | Path, vectors: Sequence[str] = ()
) -> Ensemble:
    """Call `train(source, seed)` for each of `seeds`, and what it returns for every batch of `source`.

    `vectors` are fields of the source that batches have beside texts, images and labels. Raises ValueError where
    predictions are not finite, one a row and of one width.
    """
    source, folder = as_source(source), Path(out)
    if len(set(seeds)) < len(seeds) or not all(seed >= 0 for seed in seeds) or not len(seeds):
        raise ValueError(f"want seeds of at least 0, each once, got {[*seeds]}")
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        file = folder / f"run-{seed}.safetensors"
        if not file.exists():
            arrays = _predicted(train(source, seed), source, vectors)
            name = f"{getattr(train, '__module__', '')}.{getattr(train, '__qualname__', type(train).__qualname__)}"
            with atomic_file(file) as temporary:
                trained_by = np.frombuffer(json.dumps(name).encode(), np.uint8)
                save_safetensors({**arrays, "trained_by": trained_by}, temporary)
    return Ensemble(folder)


@dataclass(frozen=True)
class Ensemble:
    """A folder of runs."""

    folder: Path

    @cached_property
    def runs(self) -> dict[int, dict[str, np.ndarray]]:
        """The arrays of each seed: key [n] sorted, logits [n, C], perhaps features [n, D]."""
        files = {int(match[1]): file for file in self._files() if (match := _FILE.fullmatch(file.name))}
        if not files:
            raise ValueError(f"{self.folder}: want runs of an ensemble (run-0.safetensors, ...), got none")
        found = {seed: mmap_safetensors(files[seed]) for seed in sorted(files)}
        first = next(iter(found.values()))
        for seed, arrays in found.items():
            is_whole = {"key", "logits", "trained_by"} <= arrays.keys()
            if not is_whole or arrays["logits"].shape[1:] != first["logits"].shape[1:]:
                raise ValueError(f"{files[seed]}: want keys and logits of as many classes as the other runs have")
        return found

    @cached_property
    def identity(self) -> str:
        """What tells one ensemble from another: CRC-32 of its files."""
        return " ".join(f"{file.name}:{zlib.crc32(file.read_bytes()):08x}" for file in self._files())

    @property
    def variant(self) -> str:
        """The function and the seeds, in words."""
        names = {json.loads(arrays["trained_by"].tobytes()) for arrays in self.runs.values()}
        return f"trained by {', '.join(sorted(names))}, mean over seeds {', '.join(map(str, self.runs))}"

    def rows(self, name: str, keys: np.ndarray, uids: Sequence[str]) -> Iterator[np.ndarray]:
        """The array `name` of the rows `keys`, a run at a time; raises ValueError naming a uid that has none."""
        for seed, arrays in self.runs.items():
            if name not in arrays:
                raise ValueError(f"{self.folder}: want {name} of seed {seed}, its function returned none")
            known = arrays["key"]
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            missing = np.flatnonzero(known[at] != keys)
            if len(missing):
                raise ValueError(f"{self.folder}: seed {seed} has no prediction for uid {uids[int(missing[0])]!r}")
            yield arrays[name][at]

    def _files(self) -> list[Path]:
        return sorted(file for file in self.folder.glob("run-*.safetensors") if file.is_file())


def _predicted(predict: Predict, source: Source, vectors: Sequence[str]) -> dict[str, np.ndarray]:
    """What `predict` says of every row, in the order of the keys."""
    keys: list[np.ndarray] = []
    parts: dict[str, list[np.ndarray]] = {"logits": [], "features": []}
    for batch in _batches(source, vectors):
        with torch.no_grad():
            made = predict(batch)
        made = made if isinstance(made, Predictions) else Predictions(made)
        keys.append(batch.keys)
        for name, value in made._asdict().items():
            if value is not None:
                parts[name].append(_checked(value, name, batch))
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items() if arrays}
    key = np.concatenate(keys) if keys else np.zeros(0, np.uint64)
    order = np.argsort(key)
    if (np.diff(key[order]) == 0).any():
        raise ValueError("want rows whose uids have hashes of their own, got two with the same")
    return {"key": key[order]} | {name: array[order] for name, array in joined.items()}


def _checked(value: torch.Tensor | np.ndarray, name: str, batch: Batch) -> np.ndarray:
    array = value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, np.float32)
    if array.ndim != 2 or len(array) != len(batch) or not np.isfinite(array).all():
        raise ValueError(f"want finite {name} [{len(batch)}, d] from the trained function, got {[*array.shape]}")
    return array


def _batches(source: Source, vectors: Sequence[str]) -> Iterator[Batch]:
    for chunk in source.identified():
        rows = np.arange(chunk.start, chunk.start + len(chunk.rows), dtype=np.int64)
        found = {name: source.vectors(chunk, name) for name in vectors}
        yield Batch(rows, chunk.uids, chunk.texts, chunk.groups, chunk.labels, chunk.images, found)
