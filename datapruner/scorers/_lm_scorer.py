"""What the scorers that ask a causal language model have in common: its fields, loading it, means over tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from datapruner.scorers import _causal_lm
from datapruner.scorers._windows import Window, batches_of, windows_of
from datapruner.scoring import progress
from datapruner.scoring.scorer import COSMETIC, Scorer


@dataclass(frozen=True)
class LanguageModelScorer(Scorer):
    """Base: `model` is a folder or hub id; `window` the most tokens that are read at a time.

    `device` "auto" is CUDA where there is one; `batch_tokens` bounds a batch, pads included, and defaults to what keeps
    the device busy: 1024 on a CPU, 16384 elsewhere.
    """

    model: str = field(default="HuggingFaceTB/SmolLM2-135M", metadata=COSMETIC)
    window: int = 1024
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_tokens: int | None = field(default=None, metadata=COSMETIC)
    device: str = field(default="auto", metadata=COSMETIC)

    def check(self) -> None:
        self._check_fields()
        longest = _causal_lm.longest_window(self.model)
        if longest is not None and self.window > longest:
            raise ValueError(f"{self._name}.window is {self.window}, {self.model} has {longest} positions")

    def identity(self) -> dict[str, str]:
        return {"model": _causal_lm.checked_checkpoint(self.model).identity}

    def _check_fields(self) -> None:
        if self.window < 2 or (self.batch_tokens is not None and self.batch_tokens < 1):
            raise ValueError(
                f"{self._name} wants a window of at least 2 and batch_tokens of at least 1, got {self.window} and "
                f"{self.batch_tokens}"
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"{self._name}.dtype wants float32 or bfloat16, got {self.dtype!r}")

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @property
    def _torch_device(self) -> str:
        return self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def _loaded(self) -> _causal_lm.LanguageModel:
        self.check()
        return _causal_lm.load(self.model, getattr(torch, self.dtype), self._torch_device)

    def _batches(self, windows: Sequence[Window], is_on_cpu: bool) -> Iterator[list[Window]]:
        """`windows` by length; the rows of each batch count as done when the next one is asked for."""
        # a document is done by the share of its windows that are
        parts: dict[int, int] = {}
        for window in windows:
            parts[window.document] = parts.get(window.document, 0) + 1
        for some in batches_of(windows, self.batch_tokens or (1024 if is_on_cpu else 16384)):
            yield some
            rows = sum(1 / parts[window.document] for window in some)
            progress.advance(rows, sum(len(window.ids) for window in some))


@dataclass(frozen=True)
class TextLossScorer(LanguageModelScorer):
    """Base of means over the tokens of texts of any length: of each only the first `max_tokens` are read, None is all.

    A few long texts may cost more than all others together.
    """

    max_tokens: int | None = None

    def _check_fields(self) -> None:
        super()._check_fields()
        if self.max_tokens is not None and self.max_tokens < 2:
            raise ValueError(f"{self._name} wants max_tokens of at least 2, got {self.max_tokens}")

    def _read(self, documents: Sequence[list[int]]) -> list[list[int]]:
        """Of each document as much as is read."""
        return [ids[: self.max_tokens] for ids in documents]

    def _sums(
        self,
        language_model: _causal_lm.LanguageModel,
        documents: Sequence[list[int]],
        uids: Sequence[str],
        statistic: _causal_lm.Statistic,
        starts: Sequence[int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each document the sum of `statistic` over its scored tokens, float64 [n], and their number, int64 [n].

        The first token has nothing before it and is not scored; with `starts` nor are those before number starts[i].
        """
        windows = [window for i, ids in enumerate(documents) for window in windows_of(i, ids, self.window)]
        if starts is not None:
            windows = [window for window in windows if window.start + len(window.ids) > starts[window.document]]
        sums, tokens = np.zeros(len(documents)), np.zeros(len(documents), dtype=np.int64)
        for some in self._batches(windows, language_model.is_on_cpu):
            firsts = [1 if starts is None else max(1, starts[window.document] - window.start) for window in some]
            found = language_model.per_token([window.ids for window in some], statistic, firsts)
            for window, values in zip(some, found, strict=True):
                if not values.isfinite().all():
                    raise ValueError(f"{self._name}: the model's loss is not finite on {uids[window.document]!r}")
                sums[window.document] += float(values.double().sum())
                tokens[window.document] += len(values)
        return sums, tokens
