"""PruneSID against its formula in float64 loops, and without the defects of the published code."""

from __future__ import annotations

import math

import pytest
import torch

from tokenpruner import Context
from tokenpruner.methods.prunesid import PruneSID, principal_groups, shares
from tokenpruner.models.tower_reading import TowerReading


def context(size, width=12, seed=0, blobs=0):
    generator = torch.Generator().manual_seed(seed)
    visual = torch.randn(size, width, generator=generator)
    if blobs:
        # so that there is something to thin out
        centres = 3 * torch.randn(blobs, width, generator=generator)
        visual = centres[torch.arange(size) % blobs] + 0.3 * visual
    return Context(visual, tower=TowerReading(torch.rand(size, generator=generator)))


def groups_of(visual, n_groups):
    values = visual.double().sigmoid()
    left = torch.linalg.svd(values - values.mean(1, keepdim=True), full_matrices=False).U
    return left[:, :n_groups].abs().argmax(1).tolist()


def literal(given, n):
    """The formula, token by token; counts by the published loop, without its missing token."""
    size, attention = given.size, given.tower.class_attention.double().tolist()
    rows = torch.nn.functional.normalize(given.visual.double(), dim=1)
    pairs = [[float(rows[i] @ rows[j]) for j in range(size)] for i in range(size)]
    mean = sum(pairs[i][j] for i in range(size) for j in range(i)) / (size * (size - 1) / 2)
    group = groups_of(given.visual, max(1, n // 4))
    ranked, alive = {}, {}
    for own in sorted(set(group)):
        order = sorted((i for i in range(size) if group[i] == own), key=lambda i: (-attention[i], i))
        stays: list[int] = []
        for i in order:
            if all(pairs[i][j] <= n / 32 * mean for j in stays):
                stays.append(i)
        ranked[own], alive[own] = stays + [i for i in order if i not in stays], len(stays)
    upper = {own: min(alive[own], 5 * math.ceil(n / 64)) for own in ranked}
    while sum(upper.values()) < n:
        upper = {own: min(len(ranked[own]), upper[own] + 1) for own in ranked}
    return ranked, alive, upper


@pytest.mark.parametrize(("size", "n", "blobs"), [(30, 8, 0), (40, 13, 5), (64, 20, 6), (25, 24, 3), (9, 1, 0)])
def test_kept_tokens_are_the_best_of_their_groups(size, n, blobs):
    given = context(size, blobs=blobs, seed=size)
    picks = PruneSID(n_keep=n).select(given).tolist()
    ranked, alive, upper = literal(given, n)
    counts = {own: len({*picks} & {*ranked[own]}) for own in ranked}
    assert sorted(i for own, count in counts.items() for i in ranked[own][:count]) == picks
    assert sum(counts.values()) == n
    assert all(1 <= counts[own] <= upper[own] for own in ranked)
    # beyond the one that each has, in proportion to survivors where no bound is in the way
    if all(counts[own] < upper[own] for own in ranked):
        wanted = {own: 1 + (n - len(ranked)) * alive[own] / sum(alive.values()) for own in ranked}
        assert all(abs(counts[own] - wanted[own]) < 1 for own in ranked)


def test_near_duplicates_are_thinned_out():
    """Twins of the most attended token are kept only when every group has given its own survivors."""
    given = context(64, blobs=8, seed=3)
    ranked, alive, _ = literal(given, 16)
    assert sum(alive.values()) < given.size
    picks = PruneSID(n_keep=16).select(given).tolist()
    for own in ranked:
        kept = [i for i in ranked[own] if i in picks]
        assert kept == ranked[own][: len(kept)]


def test_shares_by_hand():
    # one each of the two that have any, and three more by 6 : 2 survivors: two and one
    assert shares(5, [9, 3, 0], [6, 2, 0]) == [3, 2, 0]
    # five of a group at most while n is 64 or less, until the groups are too small for that
    assert shares(8, [20, 9], [20, 9]) == [5, 3]
    assert shares(12, [20, 4], [20, 4]) == [8, 4]
    # as many as survived, until that is too few: then those that were crowded
    assert shares(3, [5, 5], [1, 1]) in ([2, 1], [1, 2])


def test_components_do_not_hang_on_the_global_generator():
    """Published: drawn from it, so that two calls keep different tokens."""
    given = context(200, width=64, seed=5)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(PruneSID(n_keep=40).select(given))
    assert torch.equal(*found)


@pytest.mark.parametrize("width", [16, 48])
def test_components_are_the_exact_ones_where_the_spectrum_falls(width):
    """The decomposition keeps few of many dimensions, and loses nothing."""
    generator = torch.Generator().manual_seed(width)
    scales = 0.7 ** torch.arange(width)
    visual = (torch.randn(150, width, generator=generator) * scales) @ torch.randn(width, 96, generator=generator)
    assert principal_groups(visual, 8).tolist() == groups_of(visual, 8)


def test_more_groups_than_dimensions():
    given = context(60, width=3)
    assert len(PruneSID(n_keep=50).select(given)) == 50
