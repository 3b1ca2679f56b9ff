"""One forward pass of a vision transformer: what is known of its tokens between its hooks, and where they went."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from tokenpruner.base.vision_transformer import Read, Reduced
from tokenpruner.report.timing import Stopwatch


@dataclass
class TowerPass:
    """One forward pass of the tower: what is known of its tokens so far."""

    started: float
    selection: Stopwatch
    grid: tuple[int, int] | None = None
    n_images: int = 0
    # tokens that entered each block, and what goes behind it
    lengths: list[int] = field(default_factory=list)
    removals: Sequence[int] = ()
    read: dict[Read, torch.Tensor] = field(default_factory=dict)
    sizes: torch.Tensor | None = None
    # behind each cut the first token at each place
    kept: list[torch.Tensor] = field(default_factory=list)
    # where tokens merge, for each first token the place of the one that it is part of
    target: torch.Tensor | None = None


class Local(threading.local):
    """The pass that runs in this thread."""

    current: TowerPass | None = None


def log_sizes(sizes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """What is added to the scores of each token, as `like` is."""
    return sizes.to(like.device, torch.promote_types(like.dtype, torch.float32)).log().to(like.dtype)


def follow(current: TowerPass, reduced: Reduced) -> None:
    """Note where the tokens went."""
    device, kept = reduced.kept.device, reduced.kept
    current.kept.append(current.kept[-1].to(device).gather(1, kept) if current.kept else kept)
    current.sizes = reduced.sizes
    if reduced.sizes is not None:
        target = current.target
        current.target = reduced.target if target is None else reduced.target.gather(1, target.to(device))


def spread(output: object, current: TowerPass) -> object:
    """The tower's output with each merged token once for each of its patches; None where nothing was merged."""
    hidden = getattr(output, "last_hidden_state", None)
    if current.sizes is None or current.target is None or not isinstance(hidden, torch.Tensor):
        return None
    where = current.target.to(hidden.device)[..., None].expand(-1, -1, hidden.shape[-1])
    return replace(output, last_hidden_state=hidden.gather(1, where))  # type: ignore[type-var]
