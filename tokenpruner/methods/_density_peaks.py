"""Density peaks (Rodriguez and Laio, Science 2014) on k nearest neighbours (Du et al. 2016): centres and their members.

    log rho_i = -mean of d_ij^2 / D over the k nearest j, i itself among them
    delta_i   = the distance to the nearest token that is denser; of the densest the largest distance there is
    centres   = the n largest rho_i delta_i; every other token belongs to the nearest centre

rho and delta are compared by their logarithms, which do not fade where distances are large. Of equally dense tokens the
earlier one counts as denser, of equal distances the earlier centre: no noise, and the same for any batch.
"""

from __future__ import annotations

import torch

from prunekernels._gram import gram


def density_peaks(values: torch.Tensor, n_centres: int, n_nearest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres int64 [n], ascending, of `values` [M, D], and int64 [M] which of the centres, 0 ... n - 1, each is of."""
    squares = _squared_distances(values)
    nearest = squares.topk(n_nearest, dim=-1, largest=False).values
    log_density = -nearest.mean(-1)
    places = torch.arange(len(values), device=values.device)
    is_tie = (log_density == log_density[:, None]) & (places < places[:, None])
    is_denser = (log_density > log_density[:, None]) | is_tie
    delta = squares.masked_fill(~is_denser, torch.inf).amin(-1)
    log_score = delta.clamp(max=squares.max()).log() / 2 + log_density
    # a duplicate of a denser token has delta 0 and comes last
    centres = log_score.argsort(descending=True, stable=True)[:n_centres].sort().values
    members = squares[:, centres].argmin(-1)
    members[centres] = torch.arange(n_centres, device=values.device)
    return centres, members


def _squared_distances(values: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances over D, float32 [M, M], from products of rows about their mean."""
    rows = values.float()
    dots = gram(rows - rows.mean(0))
    lengths = dots.diagonal()
    return ((lengths[:, None] + lengths - 2 * dots) / rows.shape[1]).clamp(min=0)
