"""Whether ours and a peer say the same: a benchmark of unequal results is worthless.

A check takes the inputs, our result and the peer's; it raises UnequalError where they differ by more than rounding
explains, and returns what the row should say beside the times.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from prunekernels.bipartite_merge import Merged
from prunekernels.kmeans import KMeans

Tensors = tuple[torch.Tensor, ...]

# share of the best that a greedy pick may miss: float32 leaves sqrt(4096) 2^-24 = 4e-6 of a dot product of 4,096
# terms as a rule, and two sets of distances are compared over a thousand steps
SHORTFALL = 1e-4


class UnequalError(ValueError):
    """Ours and the peer's results are not the same."""


def same(inputs: Tensors, ours: torch.Tensor | Tensors, theirs: torch.Tensor | Tensors, *, absolute: float = 0) -> str:
    """Numbers that differ by the rounding of a peer's scores in the inputs' dtype.

    Scores stay under 8 here, so that two roundings of each by half an epsilon move its exponential by 8 epsilons, and
    one a square of it; sums over thousands of float32 terms leave 1e-4 at the worst.
    """
    relative = max(1e-4, 8 * torch.finfo(inputs[0].dtype).eps)
    mine = (ours,) if isinstance(ours, torch.Tensor) else ours
    others = (theirs,) if isinstance(theirs, torch.Tensor) else theirs
    for own, other in zip(mine, others, strict=False):
        error = (own - other).abs()
        # so put, a NaN is wrong
        wrong = int((~(error <= absolute + relative * other.abs())).sum())
        _want(not wrong, f"{wrong} of {own.numel()} numbers differ, by up to {float(error.max()):.2g}")
    return ""


def other_result(inputs: Tensors, ours: object, theirs: object) -> str:
    """For a peer whose time is a yardstick: it computes something else."""
    return "a yardstick: the peer's result is attention's output"


def same_indices(inputs: Tensors, ours: torch.Tensor, theirs: torch.Tensor) -> str:
    """Exactly the same."""
    _want(torch.equal(ours, theirs), f"{int((ours != theirs).sum()) if ours.shape == theirs.shape else 'all'} differ")
    return ""


def same_sets(inputs: Tensors, ours: torch.Tensor, theirs: list[torch.Tensor], *, sizes: Sequence[int]) -> str:
    """Farthest-point picks of each set of a padded batch."""
    notes = [
        same_picks((inputs[0][i, :size],), ours[i, : len(theirs[i])], theirs[i], cosine=True)
        for i, size in enumerate(sizes)
    ]
    return max(notes)


def same_clusters(inputs: Tensors, ours: KMeans, theirs: Tensors) -> str:
    """Clusters that fit as well: a row between two centroids may go either way, and its centroids follow it."""
    points, fits = torch.nn.functional.normalize(inputs[0], dim=1), []
    for centroids, assignment in (ours[:2], theirs):
        _want(bool((centroids.norm(dim=1) - 1).abs().max() < 1e-4), "a centroid has not length 1")
        cosines = points @ centroids.T
        own = cosines.gather(1, assignment[:, None])[:, 0]
        _want(bool((own >= cosines.amax(1) - 1e-4).all()), "a row is not with its nearest centroid")
        fits.append(float(own.double().mean()))
    _want(abs(fits[0] - fits[1]) <= 1e-2 * fits[1], f"mean similarity {fits[0]:.5f}, the peer's is {fits[1]:.5f}")
    return f"mean similarity {fits[0]:.4f} / {fits[1]:.4f}"


def same_picks(inputs: Tensors, ours: torch.Tensor, theirs: torch.Tensor, *, cosine: bool) -> str:
    """The picks of farthest-point traversal from one start, or both a traversal of their own up to rounding."""
    _want(int(ours[0]) == int(theirs[0]), f"ours starts at {int(ours[0])}, the peer at {int(theirs[0])}")
    if torch.equal(ours, theirs):
        return ""
    points = inputs[0].double()
    points = torch.nn.functional.normalize(points, dim=1) if cosine else points - points.mean(0)
    norms = points.square().sum(1)
    for picks in (ours, theirs):
        nearest = torch.full_like(norms, torch.inf)
        for pick, new in zip(picks[:-1], picks[1:], strict=True):
            nearest = torch.minimum(nearest, norms + norms[pick] - 2 * (points @ points[pick]))
            _want(bool(nearest[new] >= (1 - SHORTFALL) * nearest.max()), f"row {int(new)} was not the farthest")
    return "picks differ at ties"


def same_volume(inputs: Tensors, ours: torch.Tensor, theirs: torch.Tensor) -> str:
    """The picks of greedy MAP inference, or both greedy up to rounding."""
    if torch.equal(ours, theirs):
        return ""
    rows = torch.nn.functional.normalize(inputs[0].double(), dim=1) * inputs[1].double()[:, None]
    for picks in (ours, theirs):
        left = rows.clone()
        for pick in picks:
            residual = left.square().sum(1)
            _want(bool(residual[pick] >= (1 - SHORTFALL) * residual.max()), f"row {int(pick)} did not add most")
            # what no pick spans: Gram-Schmidt in place of the Cholesky rows that are checked
            axis = left[pick] / residual[pick].sqrt()
            left -= torch.outer(left @ axis, axis)
    return "picks differ at ties"


def same_merge(inputs: Tensors, ours: Merged, theirs: Tensors) -> str:
    """The same tokens and sizes; the peer puts the tokens of B behind those of A."""
    images, n_left = ours.sizes.shape
    right = ours.target[:, 1::2]
    is_left = torch.ones(images, n_left, dtype=torch.bool, device=right.device).scatter_(1, right, False)
    order = torch.cat([is_left.nonzero()[:, 1].view(images, -1), right], 1)
    tokens = ours.tokens.gather(1, order[..., None].expand(-1, -1, ours.tokens.shape[-1]))
    # a mean of tokens may cancel, so that its rounding is that of the tokens themselves
    return same(inputs, (tokens, ours.sizes.gather(1, order)), theirs, absolute=1e-5)


def same_recall(inputs: Tensors, ours: torch.Tensor, theirs: torch.Tensor) -> str:
    """Which rows are dropped, of those planted; nothing else is a duplicate."""
    planted = inputs[-1]
    mine, other = (float(dropped[planted].float().mean()) for dropped in (ours, theirs))
    extra = [int(dropped.sum() - dropped[planted].sum()) for dropped in (ours, theirs)]
    _want(extra == [0, 0], f"dropped rows that have no duplicate: {extra[0]} ours, {extra[1]} the peer")
    _want(mine >= other - 0.005, f"recall {mine:.3f}, the peer's is {other:.3f}")
    return f"recall {mine:.2f} / {other:.2f}"


def _want(holds: bool, otherwise: str) -> None:
    if not holds:
        raise UnequalError(otherwise)
