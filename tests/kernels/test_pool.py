"""Pooling of a document's vectors, against scipy as each published form uses it, and step by step."""

import importlib.util
import sys

import pytest
import torch

from prunekernels.pool import pool

needs_scipy = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="Ward linkage is scipy's")
WARD = [pytest.param(method, marks=needs_scipy) for method in ("hierarchical", "pylate", "colpali")]
METHODS = [*WARD, "kmeans"]


def _unit(n: int, n_dims: int = 16, seed: int = 0) -> torch.Tensor:
    vectors = torch.randn(n, n_dims, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


def _published(vectors: torch.Tensor, factor: int, as_points: bool) -> list[frozenset[int]]:
    """Clusters as the packages take them: scipy's linkage and its cut by number of clusters."""
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    distances = (1 - vectors.double() @ vectors.double().T).numpy()
    if as_points:
        merges = hierarchy.linkage(distances, method="ward", metric="euclidean")
    else:
        rows, columns = torch.triu_indices(len(vectors), len(vectors), 1).numpy()
        merges = hierarchy.linkage(distances[rows, columns], method="ward")
    labels = hierarchy.fcluster(merges, max(len(vectors) // factor, 1), criterion="maxclust")
    return sorted((frozenset((labels == label).nonzero()[0].tolist()) for label in set(labels)), key=min)


def _clusters(assignment: torch.Tensor, n: int) -> list[frozenset[int]]:
    return [frozenset((assignment == cluster).nonzero().flatten().tolist()) for cluster in range(n)]


@needs_scipy
def test_by_hand(device: torch.device) -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [1.0, 0.0]], device=device)
    for method, length in (("hierarchical", True), ("pylate", False), ("colpali", True), ("kmeans", True)):
        pooled = pool(vectors, 2, method)
        # 0, 2 and 3 lie together; their mean is (2.8, 0.6) / 3, at an angle whose tangent is 3 / 14
        assert pooled.assignment.tolist() == [0, 1, 0, 0], method
        mean = torch.tensor([2.8, 0.6]) / (8.2**0.5 if length else 3)
        torch.testing.assert_close(pooled.vectors.cpu(), torch.stack([mean, torch.tensor([0.0, 1.0])]))


def _step_by_step(distances: torch.Tensor, n_clusters: int) -> list[frozenset[int]]:
    """Ward's clusters as printed: the two nearest become one, whose distances Lance and Williams' recurrence tells."""
    clusters = [frozenset([row]) for row in range(len(distances))]
    squares = distances.double().square()
    while len(clusters) > n_clusters:
        apart = squares.clone().fill_diagonal_(torch.inf)
        a, b = sorted(divmod(int(apart.argmin()), len(clusters)))
        size = torch.tensor([float(len(cluster)) for cluster in clusters])
        to_both = (size[a] + size) * squares[a] + (size[b] + size) * squares[b] - size * squares[a, b]
        squares[a] = squares[:, a] = to_both / (size[a] + size[b] + size)
        clusters[a] |= clusters.pop(b)
        left = torch.arange(len(squares)) != b
        squares = squares[left][:, left]
    return sorted(clusters, key=min)


@pytest.mark.parametrize("method", WARD)
def test_merges_are_those_of_the_recurrence(method: str, device: torch.device) -> None:
    vectors = _unit(27, n_dims=5, seed=8)
    distances = 1 - vectors.double() @ vectors.double().T
    if method == "colpali":
        distances = (distances[:, None] - distances).norm(dim=-1)
    for factor in (2, 3, 9):
        pooled = pool(vectors.to(device), factor, method)
        assert _clusters(pooled.assignment, len(pooled.vectors)) == _step_by_step(distances, 27 // factor)


@pytest.mark.parametrize("n", [2, 3, 31, 64, 65, 150])
@pytest.mark.parametrize("factor", [1, 2, 3, 9, 100])
@pytest.mark.parametrize("method", WARD)
def test_clusters_are_the_published_ones(n: int, factor: int, method: str, device: torch.device) -> None:
    vectors = _unit(n, seed=n)
    wanted = _published(vectors, factor, as_points=method == "colpali")
    pooled = pool(vectors.to(device), factor, method)
    assert _clusters(pooled.assignment, len(wanted)) == wanted
    assert len(pooled.vectors) == max(n // factor, 1)
    for cluster, vector in zip(wanted, pooled.vectors.cpu(), strict=True):
        mean = vectors[sorted(cluster)].mean(0)
        torch.testing.assert_close(vector, mean if method == "pylate" else mean / mean.norm(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", WARD)
def test_vectors_that_are_nearly_alike(method: str, device: torch.device) -> None:
    """As those of an empty page are: what they have in common hides nothing of what they differ by."""
    vectors = torch.nn.functional.normalize(_unit(1, seed=10) + 1e-2 * _unit(70, seed=9), dim=1)
    pooled = pool(vectors.to(device), 9, method)
    assert _clusters(pooled.assignment, 7) == _published(vectors, 9, as_points=method == "colpali")


@needs_scipy
def test_the_two_published_forms_differ() -> None:
    vectors = _unit(60, seed=1)
    assert not torch.equal(pool(vectors, 3, "pylate").assignment, pool(vectors, 3, "colpali").assignment)
    assert torch.equal(pool(vectors, 3, "pylate").assignment, pool(vectors, 3).assignment)


@pytest.mark.parametrize("method", METHODS)
def test_protected_vectors_stay_bit_for_bit(method: str, device: torch.device) -> None:
    vectors = (3 * _unit(21, seed=2)).to(device)
    pooled = pool(vectors, 4, method, protected=2)
    assert torch.equal(pooled.vectors[:2], vectors[:2])
    assert pooled.assignment[:2].tolist() == [0, 1]
    assert pooled.assignment[2:].min() == 2
    # the others are pooled as if they stood alone
    alone = pool(vectors[2:], 4, method)
    assert torch.equal(pooled.vectors[2:], alone.vectors)
    assert torch.equal(pooled.assignment[2:] - 2, alone.assignment)
    for protected in (21, 99):
        assert torch.equal(pool(vectors, 4, method, protected).vectors, vectors)
    assert pool(vectors, 4, method, 20).vectors.shape == (21, 16)


@pytest.mark.parametrize("method", METHODS)
def test_clusters_stand_in_the_order_of_their_first_members(method: str, device: torch.device) -> None:
    assignment = pool(_unit(40, seed=3).to(device), 3, method).assignment.tolist()
    firsts = [assignment.index(cluster) for cluster in range(max(assignment) + 1)]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("method", WARD)
def test_duplicates_still_give_the_count_asked_for(method: str, device: torch.device) -> None:
    vectors = torch.eye(4).repeat(6, 1).to(device)
    # copies merge first, so that 4 clusters are the four kinds
    assert pool(vectors, 6, method).assignment.tolist() == list(range(4)) * 6
    for factor in (1, 2, 3, 5, 24):
        assert len(pool(vectors, factor, method).vectors) == 24 // factor
    assert len(pool(torch.zeros(5, 3, device=device), 2, method).vectors) == 2


@needs_scipy
def test_order_and_scale_do_not_change_the_clusters(device: torch.device) -> None:
    vectors = _unit(30, seed=4)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    for method in ("hierarchical", "colpali"):
        pooled, shuffled = pool(vectors.to(device), 3, method), pool(vectors[order].to(device), 3, method)
        back = [frozenset(order[list(cluster)].tolist()) for cluster in _clusters(shuffled.assignment, 10)]
        assert set(back) == set(_clusters(pooled.assignment, 10))
        scales = torch.logspace(-3, 3, 30)[:, None]
        assert torch.equal(pool((vectors * scales).to(device), 3, method).assignment, pooled.assignment)


@pytest.mark.parametrize("method", METHODS)
def test_dtype_strides_and_edges(method: str, device: torch.device) -> None:
    vectors = _unit(20, seed=6).to(device)
    pooled = pool(vectors, 3, method)
    assert pool(vectors.half(), 3, method).vectors.dtype == torch.float16
    assert torch.equal(pool(vectors.T.contiguous().T, 3, method).assignment, pooled.assignment)
    assert pool(vectors[:0], 3, method).vectors.shape == (0, 16)
    assert pool(vectors[:0], 3, method, protected=2).assignment.shape == (0,)
    torch.testing.assert_close(pool(vectors[:1], 3, method).vectors, vectors[:1])
    assert pool(vectors, 7, method).vectors.shape == (2, 16)
    assert pool(vectors, 99, method).assignment.tolist() == [0] * 20


def test_a_missing_scipy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.cluster.hierarchy", None)
    with pytest.raises(ImportError, match=r'pip install "prunekit\[data\]"'):
        pool(_unit(6), 2)
    assert len(pool(_unit(6), 2, "kmeans").vectors) <= 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": torch.zeros(3)}, r"\[N, D\]"),
        ({"vectors": torch.zeros(3, 2).long()}, "floating"),
        ({"factor": 0}, "factor"),
        ({"protected": -1}, "protected"),
        ({"method": "ward"}, "method"),
        ({"vectors": torch.tensor([[0.0], [torch.nan]])}, "row 1"),
        ({"vectors": torch.tensor([[torch.inf], [0.0]]), "protected": 1}, "row 0"),
    ],
)
def test_refuses(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool(**{"vectors": torch.ones(3, 2), "factor": 2, **change})
