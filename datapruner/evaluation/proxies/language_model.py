"""A small language model over bytes, judged by the bits that it needs for a byte of the held-out texts.

    quality = - sum over the bytes of the held-out texts of log2 p(byte | what stands before it in its window) / bytes

Lower is better. Bytes need no tokenizer, which would have been learned from some rows and not from others. Training
goes through the kept texts in an order drawn anew every epoch, as one stream with a separator before each text, cut
into windows: every step learns from `batch_size` windows, so that equal steps are equal tokens, however long the kept
texts are. The separators are read and learned, and no part of the quality.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.evaluation.proxies._byte_model import SEPARATOR, ByteModel
from datapruner.evaluation.proxy import Proxy, Rows, Step, Task, device_of

# windows of a forward pass that learns nothing
BLOCK = 64


class LanguageTask(Task):
    """The texts as one array of tokens, and where each begins."""

    def __init__(self, proxy: LanguageModel, train: Rows, test: Rows) -> None:
        if train.texts is None or test.texts is None:
            raise ValueError("language_model wants texts in both corpora: name the field")
        self.proxy, self.n_rows = proxy, len(train)
        self.device = device_of(proxy.device)
        pieces = [_tokens(text) for text in train.texts]
        self.tokens = np.concatenate(pieces)
        self.starts = np.append(0, np.cumsum([len(piece) for piece in pieces]))
        held_out = np.concatenate([_tokens(text) for text in test.texts])
        if not (held_out != SEPARATOR).any():
            raise ValueError("language_model wants held-out texts that are not empty")
        self.windows = _windows(held_out, proxy.window).to(self.device)

    def model(self) -> torch.nn.Module:
        return ByteModel(self.proxy.width, self.proxy.layers, self.proxy.window).to(self.device)

    def steps(self, epochs: Iterator[np.ndarray], weights: np.ndarray | None) -> Iterator[Step]:
        # the last token of a window is the first of the next: each is predicted once
        size, rows_a_step = self.proxy.window, self.proxy.batch_size
        tokens, weighed = np.zeros(0, np.int16), np.zeros(0, np.float32)
        for rows in epochs:
            tokens = np.concatenate([tokens, *(self.tokens[self.starts[row] : self.starts[row + 1]] for row in rows)])
            if weights is not None:
                lengths = self.starts[rows + 1] - self.starts[rows]
                weighed = np.concatenate([weighed, np.repeat(weights[rows], lengths)])
            while len(tokens) > size * rows_a_step:
                end = size * rows_a_step
                items = torch.from_numpy(tokens[: end + 1].astype(np.int64)).unfold(0, size + 1, size)
                own = None if weights is None else torch.from_numpy(weighed[1 : end + 1]).view(rows_a_step, size)
                yield Step(items.to(self.device), None if own is None else own.to(self.device))
                tokens, weighed = tokens[end:], weighed[end:]

    def loss(self, model: torch.nn.Module, step: Step) -> torch.Tensor:
        losses = self._losses(model, step.items)
        return losses.mean() if step.weights is None else (losses * step.weights).mean()

    @torch.no_grad()
    def quality(self, model: torch.nn.Module) -> float:
        bits, count = 0.0, 0
        for windows in self.windows.split(BLOCK):
            is_byte = (windows[:, 1:] >= 0) & (windows[:, 1:] != SEPARATOR)
            losses = self._losses(model, windows.clamp_min(0))
            bits += float((losses.double() * is_byte).sum()) / math.log(2)
            count += int(is_byte.sum())
        return bits / count

    def _losses(self, model: torch.nn.Module, windows: torch.Tensor) -> torch.Tensor:
        """Nats of each token but the first of a window, float32 [n, t]."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.proxy.dtype == "bfloat16"):
            logits = model(windows[:, :-1])
        losses = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), windows[:, 1:].flatten(), reduction="none"
        )
        return losses.view(len(windows), -1)


@dataclass(frozen=True)
class LanguageModel(Proxy):
    """Rule: `layers` causal transformer layers of `width` over windows of `window` bytes, `batch_size` a step.

    With `dtype` bfloat16 the products are in it (autocast), the weights and what is learned stay float32: about half
    the time on a processor or GPU that has such products.
    """

    width: int = 128
    layers: int = 2
    window: int = 256
    batch_size: int = 16
    learning_rate: float = 2e-3
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"

    version: ClassVar[int] = 2
    quality: ClassVar[str] = "bits per byte"
    higher_is_better: ClassVar[bool] = False
    margin: ClassVar[float] = 0.01
    needs: ClassVar[tuple[str, ...]] = ("texts",)
    cost: ClassVar[str] = "12 layers width^2 parameters; a forward and a backward pass over batch_size windows a step"

    def check(self) -> None:
        if self.width < 8 or min(self.layers, self.window, self.batch_size) < 1 or not self.learning_rate > 0:
            raise ValueError(
                "language_model wants a width of at least 8, layers, window and batch_size of at least 1 and a "
                f"learning_rate above 0, got {self.width}, {self.layers}, {self.window}, {self.batch_size} and "
                f"{self.learning_rate}"
            )

    @property
    def rate(self) -> float:
        return self.learning_rate

    def task(self, train: Rows, test: Rows) -> LanguageTask:
        return LanguageTask(self, train, test)


def _tokens(text: str) -> np.ndarray:
    """A separator and the bytes of the text, int16."""
    return np.append(np.int16(SEPARATOR), np.frombuffer(text.encode(), np.uint8).astype(np.int16))


def _windows(tokens: np.ndarray, size: int) -> torch.Tensor:
    """int64 [n, size + 1], each beginning with the last of the one before; the last is filled up with -1."""
    n = max(1, -(-(len(tokens) - 1) // size))
    padded = np.full(n * size + 1, -1, np.int64)
    padded[: len(tokens)] = tokens
    return torch.from_numpy(padded).unfold(0, size + 1, size).contiguous()
