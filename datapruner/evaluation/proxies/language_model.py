"""A small language model, judged by the bits that it needs for a byte of the held-out texts.

    quality = - sum over the tokens of the held-out texts of log2 p(token | what stands before it in its window)
              / bytes of the held-out texts in UTF-8

Lower is better. Tokens are byte pairs, learned once from all rows that could be kept, so that every selection is read
in the same ones; bits of a byte, and not of a token, are what other vocabularies can be compared by. Training goes
through the kept texts in an order drawn anew every epoch, as one stream with a separator before each text, cut into
windows: every step learns from `batch_size` windows, of different places, so that equal steps are equal tokens, however
long the kept texts are. The separators are read and learned, and no part of the quality.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from datapruner.corpus.byte_pairs import N_BYTES, learned_byte_pairs
from datapruner.evaluation.proxies._causal_transformer import CausalTransformer
from datapruner.evaluation.proxy import Proxy, Rows, Step, Task, device_of

# windows of a forward pass that learns nothing; texts that are encoded at a time
BLOCK, TEXTS = 64, 4096
# windows from one of a step to its next in the stream: neighbours are of one text, and steps of them learn worse
APART = 8


class LanguageTask(Task):
    """The texts as one array of tokens, and where each begins."""

    def __init__(self, proxy: LanguageModel, train: Rows, test: Rows) -> None:
        if train.texts is None or test.texts is None:
            raise ValueError("language_model wants texts in both corpora: name the field")
        self.proxy, self.n_rows = proxy, len(train)
        self.device = device_of(proxy.device)
        self.n_bytes = sum(len(text.encode()) for text in test.texts)
        if not self.n_bytes:
            raise ValueError("language_model wants held-out texts that are not empty")
        self.tokenizer = learned_byte_pairs(train.texts, proxy.vocabulary - 1)
        # no text can have it: it is behind all that the tokenizer knows
        self.separator = self.tokenizer.get_vocab_size()
        pieces = [*self._encoded(train.texts)]
        self.tokens = np.concatenate(pieces)
        self.starts = np.append(0, np.cumsum([len(piece) for piece in pieces]))
        self.windows = _windows(np.concatenate([*self._encoded(test.texts)]), proxy.window).to(self.device)

    def model(self) -> torch.nn.Module:
        sizes = self.proxy.width, self.proxy.layers, self.proxy.window
        return CausalTransformer(self.separator + 1, *sizes).to(self.device)

    def steps(self, epochs: Iterator[np.ndarray], weights: np.ndarray | None) -> Iterator[Step]:
        # the last token of a window is the first of the next: each is predicted once
        size, rows_a_step = self.proxy.window, self.proxy.batch_size
        taken = size * rows_a_step * APART
        tokens, weighed = np.zeros(0, np.int32), np.zeros(0, np.float32)
        for rows in epochs:
            tokens = np.concatenate([tokens, *(self.tokens[self.starts[row] : self.starts[row + 1]] for row in rows)])
            if weights is not None:
                lengths = self.starts[rows + 1] - self.starts[rows]
                weighed = np.concatenate([weighed, np.repeat(weights[rows], lengths)])
            while len(tokens) > taken:
                items = torch.from_numpy(tokens[: taken + 1].astype(np.int64)).unfold(0, size + 1, size)
                own = None if weights is None else torch.from_numpy(weighed[1 : taken + 1]).view(-1, size)
                for first in range(APART):
                    yield Step(
                        items[first::APART].to(self.device),
                        None if own is None else own[first::APART].to(self.device),
                    )
                tokens, weighed = tokens[taken:], weighed[taken:]

    def loss(self, model: torch.nn.Module, step: Step) -> torch.Tensor:
        losses = self._losses(model, step.items)
        return losses.mean() if step.weights is None else (losses * step.weights).mean()

    @torch.no_grad()
    def quality(self, model: torch.nn.Module) -> float:
        nats = 0.0
        for windows in self.windows.split(BLOCK):
            is_text = (windows[:, 1:] >= 0) & (windows[:, 1:] != self.separator)
            losses = self._losses(model, windows.clamp_min(0))
            nats += float((losses.double() * is_text).sum())
        return nats / math.log(2) / self.n_bytes

    def _encoded(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """A separator and the tokens of each text, int32."""
        for start in range(0, len(texts), TEXTS):
            for item in self.tokenizer.encode_batch_fast([*texts[start : start + TEXTS]], add_special_tokens=False):
                yield np.array([self.separator, *item.ids], np.int32)

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
    """Rule: `layers` causal transformer layers of `width` over windows of `window` tokens, `batch_size` a step.

    The tokens are `vocabulary` byte pairs, the separator among them; 257 are the bytes themselves.

    With `dtype` bfloat16 the products are in it (autocast), the weights and what is learned stay float32: about half
    the time on a processor or GPU that has such products.
    """

    vocabulary: int = 2048
    width: int = 128
    layers: int = 2
    window: int = 256
    batch_size: int = 16
    learning_rate: float = 2e-3
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"

    version: ClassVar[int] = 4
    quality: ClassVar[str] = "bits per byte"
    higher_is_better: ClassVar[bool] = False
    margin: ClassVar[float] = 0.01
    needs: ClassVar[tuple[str, ...]] = ("texts",)
    cost: ClassVar[str] = (
        "12 layers width^2 + vocabulary width parameters; a forward and a backward pass over batch_size windows a step"
    )

    def check(self) -> None:
        if self.vocabulary <= N_BYTES:
            raise ValueError(f"language_model wants a vocabulary of at least {N_BYTES + 1}, got {self.vocabulary}")
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


def _windows(tokens: np.ndarray, size: int) -> torch.Tensor:
    """int64 [n, size + 1], each beginning with the last of the one before; the last is filled up with -1."""
    n = max(1, -(-(len(tokens) - 1) // size))
    padded = np.full(n * size + 1, -1, np.int64)
    padded[: len(tokens)] = tokens
    return torch.from_numpy(padded).unfold(0, size + 1, size).contiguous()
