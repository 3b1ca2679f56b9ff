"""RESTORE's anchors and merging against loops of the formula; its calibration is tested with the engine."""

from __future__ import annotations

import pytest
import torch

from tests.contracts.test_token_methods import make_context
from tokenpruner import Context, prune
from tokenpruner.base.selectors.anchors import Anchors
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.restore import Restore


def cosine(one, other):
    return float(torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=0))


def anchors_by_loops(features, n):
    """R_i (1 - the largest cosine to a token of larger R), in float64."""
    size = len(features)
    alike = [[cosine(features[i], features[j]) for j in range(size)] for i in range(size)]
    density = [sum(row) for row in alike]
    scores = []
    for i in range(size):
        above = [alike[i][j] for j in range(size) if density[j] > density[i]]
        scores.append(density[i] * (1 - max(above)) if above else density[i])
    return sorted(sorted(range(size), key=lambda i: -scores[i])[:n])


def test_anchors_by_hand():
    # two groups of three and a token by itself: the middle of each group first
    features = torch.zeros(7, 5)
    features[:3, 0], features[:3, 1] = 1, torch.tensor([0.3, 0.0, -0.3])
    features[3:6, 2], features[3:6, 3] = 1, torch.tensor([0.4, 0.0, -0.4])
    features[6, 4] = 1
    assert Anchors().pick(features, None, 1).tolist() == [1]
    assert Anchors().pick(features, None, 3).tolist() == anchors_by_loops(features, 3) == [1, 4, 6]
    # of equal ones the earlier, and its copy is none
    assert Anchors().pick(features[[0, 0, 6]], None, 2).tolist() == [0, 2]


@pytest.mark.parametrize("size", [7, 30, 61])
def test_anchors_are_the_formula(size):
    features = torch.randn(size, 6, generator=torch.Generator().manual_seed(size)) + 0.5
    for n in (1, 3, size // 2):
        assert Anchors().pick(features, None, n).tolist() == anchors_by_loops(features, n)
    # a copy is no anchor beside its original
    twins = features[torch.arange(2 * size) // 2]
    picks = Anchors().pick(twins, None, 3)
    assert len((picks // 2).unique()) == 3


@pytest.mark.parametrize(
    ("n", "merged", "n_first"), [(10, 0.5, 5), (9, 0.5, 4), (10, 0.9, 1), (10, 0.0, 10), (1, 0.5, 1)]
)
def test_what_is_kept_and_what_goes_into_it(n, merged, n_first):
    context = make_context(30)
    method = Restore(n_keep=n, merged=merged)
    picks = method.select(context).tolist()
    first = DivPrune().keep(context, n_first).tolist()
    others = [token for token in range(30) if token not in first]
    anchors = [others[i] for i in anchors_by_loops(context.visual[others], n - n_first)]
    assert picks == sorted(first + anchors)
    target = method.merge(context, torch.tensor(picks)).target.tolist()
    for token in range(30):
        if token in picks:
            wanted = picks.index(token)
        elif anchors:
            wanted = picks.index(max(anchors, key=lambda one: cosine(context.visual[token], context.visual[one])))  # noqa: B023
        else:
            wanted = -1
        assert target[token] == wanted


def test_it_reads_what_the_method_inside_reads():
    assert Restore().needs == {"visual"}
    assert Restore(method="holov").needs == {"visual", "class_attention"}
    assert len(Restore(method="holov", n_keep=6).select(make_context(30))) == 6
    for method in ("restore", "visionzip", "fastv"):
        with pytest.raises(ValueError, match="want another method before the decoder that merges nothing"):
            Restore(method=method)
    with pytest.raises(ValueError, match=r"restore wants merged in \[0, 1\), got 1"):
        Restore(merged=1)


def test_as_published_attention_is_calibrated(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with torch.no_grad(), prune(model, Restore.preset("llava-1.5-64")) as report:
        model(**inputs)
    assert "positions=calibrated" in report.method
    with torch.no_grad(), prune(model, Restore(n_keep=4)) as report:
        model(**inputs)
    assert "positions=compact" in report.method
    assert len(Restore(n_keep=4).select(Context(torch.zeros(9, 3)))) == 4
