"""The router of FTP (Li et al. 2024): from four numbers of a token, whether a layer computes it.

    p        = sigmoid(MLP([position, score, rank, share]))     one router for all layers; p > 1/2: computed
    position = (place + 1/2) / size          among the tokens of the image
    score    = log(1 + N a)                  a: the attention that the text behind the image pays it in this layer
    rank     = (number of tokens with more attention + 1/2) / N
    share    = the share of tokens that shall pass this layer by, from the schedule

The four are the paper's, how each is brought near (0, 1) is ours. A new router lets every token be computed. The most
likely token always is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from tokenpruner.methods._learned_weights import LARGEST, LearnedModule, checked_width

SHARE = r"0(\.[0-9]{1,20})?|[0-9](\.[0-9]{1,20})?e-[0-9]{1,2}"


class FTPRouter(LearnedModule):
    """Routes tokens past layers; `schedule` says what share of an image's tokens shall pass each decoder layer by."""

    file_name = "ftp.safetensors"
    words = ("schedule", "width")

    def __init__(self, schedule: Sequence[float], width: int = 64) -> None:
        super().__init__()
        self.schedule, self.width = check_schedule(schedule), width
        last = nn.Linear(width, 1)
        nn.init.zeros_(last.weight)
        nn.init.ones_(last.bias)
        self.layers = nn.Sequential(nn.Linear(4, width), nn.GELU(), last)

    def forward(self, factors: torch.Tensor) -> torch.Tensor:
        """The logit of p [...] for `factors` [..., 4]."""
        dtype = next(self.parameters()).dtype
        logits: torch.Tensor = self.layers(factors.to(dtype))[..., 0]
        return logits.to(factors.dtype)

    def header(self) -> Mapping[str, str]:
        """The shares, such as 0/0.25/0.5, and the width."""
        return {"schedule": "/".join("0" if share == 0 else repr(share) for share in self.schedule)} | {
            "width": str(self.width)
        }

    @classmethod
    def of_header(cls, file: Path, header: Mapping[str, str]) -> FTPRouter:
        """A new router with that schedule, as wide."""
        given = header["schedule"].split("/")
        if not all(re.fullmatch(SHARE, share) for share in given) or len(given) > LARGEST:
            raise ValueError(f"{file}: want a schedule such as 0/0.25/0.5, got {header['schedule']!a:.80}")
        width = checked_width(file, header["width"])
        try:
            return cls([float(share) for share in given], width)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None


def check_schedule(schedule: Sequence[float]) -> tuple[float, ...]:
    """`schedule` as a tuple where it can be one; raises ValueError otherwise."""
    shares = tuple(float(share) for share in schedule)
    if len(shares) < 2 or shares[0] != 0 or not all(0 <= share < 1 for share in shares):
        raise ValueError(
            "want a schedule of shares in [0, 1) that pass each decoder layer by, two or more, none the first, "
            f"got {[*schedule]!r:.120}"
        )
    return shares


def factors(place: torch.Tensor, size: int, attention: torch.Tensor, share: float) -> torch.Tensor:
    """What the router reads of N tokens at `place` int64 [N] of an image of `size`; like `attention` [N], [N, 4]."""
    n_tokens = len(place)
    order = attention.argsort(descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(n_tokens, device=order.device))
    position = (place.to(attention) + 0.5) / size
    columns = (position, (n_tokens * attention).log1p(), (rank.to(attention) + 0.5) / n_tokens)
    return torch.stack([*columns, torch.full_like(position, share)], -1)


def computed(logits: torch.Tensor) -> torch.Tensor:
    """Which of N tokens a layer computes, bool [N]: those of p above 1/2, and the most likely one."""
    found = logits > 0
    found[logits.argmax()] = True
    return found


def first_and_last(n_tokens: int, n: int, device: torch.device) -> torch.Tensor:
    """The static router: of `n_tokens` the first one and the `n` - 1 last ones; int64 [n]."""
    last = torch.arange(n_tokens - n + 1, n_tokens, device=device)
    return torch.cat([torch.zeros(1, dtype=torch.int64, device=device), last])
