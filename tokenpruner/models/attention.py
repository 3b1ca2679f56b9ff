"""Attention of one row of a batch at one decoder layer, from its queries and keys, without the whole matrix.

    weights = softmax(scaling q k^T, over the keys that a query may see), in at least float32

Only the query rows that are asked for are computed. Columns are the row's real tokens in order, padding left
out; keys of an earlier turn stand before them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prunekernels.attention_received import attention_received

# this many weights are held at a time
MAX_WEIGHTS = 2**22


@dataclass(frozen=True)
class Attention:
    """Queries `q` [H, L, D] and keys `k` [G, S, D] of one row, positions encoded, G dividing H.

    The last L keys are those of the queries. `allowed` bool [L, S] says which query may see which key; None where
    each sees those up to its own. Scores are q . k times `scaling`, and go through `softcap` tanh(x / softcap);
    `bias` float [S] is added to those of each key.
    """

    q: torch.Tensor
    k: torch.Tensor
    scaling: float
    allowed: torch.Tensor | None = None
    softcap: float | None = None
    bias: torch.Tensor | None = None

    @property
    def n_past(self) -> int:
        """How many keys stand before those of the queries."""
        return self.k.shape[1] - self.q.shape[1]

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores before the softmax of the query columns `rows` int64 [R] with the L keys; float32 [H, R, L]."""
        return self._scores(rows)[..., self.n_past :]

    def weights(self, rows: torch.Tensor) -> torch.Tensor:
        """Attention of the query columns `rows` int64 [R] to each of the L keys; float32 [H, R, L].

        A row sums to 1 over all keys, those of earlier turns included.
        """
        scores = self._scores(rows).masked_fill(~self._seen(rows), -torch.inf)
        return scores.softmax(-1)[..., self.n_past :]

    def of_last(self) -> torch.Tensor:
        """Attention of the last query to each of the L keys; float32 [H, L]."""
        last = self.q.shape[1] - 1
        scores = self._scores(slice(last, None))
        if self.allowed is not None:
            scores = scores.masked_fill(~self.allowed[last:], -torch.inf)
        # without a mask it sees all
        return scores.softmax(-1)[:, 0, self.n_past :]

    def received(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """What each of the L columns gets from the query columns `rows`, by default all: sums, float32 [H, L]."""
        rows = torch.arange(self.q.shape[1], device=self.q.device) if rows is None else rows
        if self.allowed is None and self.softcap is None and self.bias is None:
            received = attention_received(
                self.q[None], self.k[None], causal=True, query_rows=rows, scale=float(self.scaling)
            )
            return received[0, :, self.n_past :]
        step = max(1, MAX_WEIGHTS // max(1, self.q.shape[0] * self.k.shape[1]))
        sums = [self.weights(block).sum(1) for block in rows.split(step)]
        return torch.stack(sums).sum(0)

    def _scores(self, rows: torch.Tensor | slice) -> torch.Tensor:
        dtype = torch.promote_types(self.q.dtype, torch.float32)
        q, k = self.q[:, rows].to(dtype), self.k.to(dtype)
        # heads that share keys are rows of one product, so that no keys are copied
        scores = ((q * self.scaling).reshape(len(k), -1, q.shape[2]) @ k.mT).view(*q.shape[:2], -1)
        scores = scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)
        return scores if self.bias is None else scores + self.bias

    def _seen(self, rows: torch.Tensor) -> torch.Tensor:
        if self.allowed is not None:
            return self.allowed[rows]
        return torch.arange(self.k.shape[1], device=rows.device) <= rows[:, None] + self.n_past


def causal(length: int, device: torch.device) -> torch.Tensor:
    """Who sees whom where each sees itself and what came before, bool [length, length]."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
