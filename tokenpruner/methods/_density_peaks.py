"""Density peaks (Rodriguez and Laio 2014, in the form with nearest neighbours): middles of clusters of tokens.

    distance_ij = |x_i - x_j| / sqrt(D)
    density_i   = exp(-mean of distance_ij^2 over the k nearest j, i itself among them)
    apart_i     = the smallest distance to a denser token, the largest distance of all where there is none
    peak_i      = density_i apart_i,          higher is more of a middle

Compared are logarithms: a density is 0 in float32 where neighbours are ten apart. Published codes add noise from a
global generator, so that no two densities are equal; here of equal ones that of the lower index counts as the denser.
"""

from __future__ import annotations

import torch

from prunekernels import select
from prunekernels._gram import gram
from prunekernels._precision import full_precision


def density_peaks(tokens: torch.Tensor, n: int, neighbours: int) -> torch.Tensor:
    """The `n` tokens of `tokens` [N, D] that are most of a middle; int64 [n], ascending."""
    return select.top(_log_peaks(_squares(tokens), neighbours), n)


def density_groups(tokens: torch.Tensor, n: int, neighbours: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, and int64 [N] of which of them, 0 ... n - 1, each token is: of itself, or of the nearest."""
    squares = _squares(tokens)
    middles = select.top(_log_peaks(squares, neighbours), n)
    owner = squares[:, middles].argmin(1)
    owner[middles] = torch.arange(n, device=owner.device)
    return middles, owner


def peak_scores(tokens: torch.Tensor, neighbours: int) -> torch.Tensor:
    """How much of a middle each of `tokens` [N, D] is; float32 [N]."""
    return _log_peaks(_squares(tokens), neighbours).exp()


def distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The distance of each of `one` [N, D] to each of `other` [M, D]; float32 [N, M]."""
    # about their middle, so that little is lost where they are near to each other
    middle = other.float().mean(0)
    return torch.cdist(one.float() - middle, other.float() - middle) / one.shape[1] ** 0.5


@full_precision
def _squares(tokens: torch.Tensor) -> torch.Tensor:
    """The squared distances of `tokens` [N, D] to each other; float32 [N, N]."""
    rows = tokens.float()
    dots = gram(rows - rows.mean(0))
    lengths = dots.diagonal()
    squares = ((lengths[:, None] + lengths - 2 * dots) / tokens.shape[1]).clamp_(min=0)
    return squares.fill_diagonal_(0)


def _log_peaks(squares: torch.Tensor, neighbours: int) -> torch.Tensor:
    nearest = squares.topk(min(neighbours, len(squares)), largest=False).values
    log_density = -nearest.mean(1)
    # of equal ones the lower index first
    order = log_density.sort(descending=True, stable=True).indices
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(squares), device=squares.device)
    # a duplicate of a denser token is no distance apart and comes last
    return log_density + squares.where(rank < rank[:, None], squares.max()).amin(1).log() / 2
