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


def density_peaks(tokens: torch.Tensor, n: int, neighbours: int) -> torch.Tensor:
    """The `n` tokens of `tokens` [N, D] that are most of a middle; int64 [n], ascending."""
    return select.top(_log_peaks(tokens, neighbours), n)


def peak_scores(tokens: torch.Tensor, neighbours: int) -> torch.Tensor:
    """How much of a middle each of `tokens` [N, D] is; float32 [N]."""
    return _log_peaks(tokens, neighbours).exp()


def distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The distance of each of `one` [N, D] to each of `other` [M, D]; float32 [N, M]."""
    # about their middle, so that little is lost where they are near to each other
    middle = other.float().mean(0)
    return torch.cdist(one.float() - middle, other.float() - middle) / one.shape[1] ** 0.5


def _log_peaks(tokens: torch.Tensor, neighbours: int) -> torch.Tensor:
    distance = distances(tokens, tokens)
    nearest = distance.topk(min(neighbours, len(tokens)), largest=False).values
    log_density = -nearest.square().mean(1)
    # of equal ones the lower index first
    order = log_density.sort(descending=True, stable=True).indices
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(tokens), device=tokens.device)
    # a duplicate of a denser token is no distance apart and comes last
    return log_density + distance.where(rank < rank[:, None], distance.max()).amin(1).log()
