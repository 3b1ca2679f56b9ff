"""k-means by torch and by faiss."""

import importlib.util
import sys

import pytest
import torch

from prunekernels.kmeans import KMeans, kmeans

HAS_FAISS = importlib.util.find_spec("faiss") is not None
MODULE = sys.modules["prunekernels.kmeans"]


@pytest.fixture(params=["torch", "faiss"])
def trainer(request: pytest.FixtureRequest, device: torch.device) -> str:
    if request.param == "faiss" and not HAS_FAISS:
        pytest.skip("faiss is not installed")
    if request.param == "faiss" and device.type != "cpu":
        pytest.skip("faiss takes tensors on a CPU only")
    return request.param


def _blobs(k: int, rows: int, n_dims: int = 8, spread: float = 0.05, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(k, n_dims, generator=generator), dim=1)
    return centres.repeat(rows, 1) + spread * torch.randn(k * rows, n_dims, generator=generator)


def _holds(result: KMeans, features: torch.Tensor, spherical: bool) -> None:
    """Each row lies at the nearest of the returned centroids, and similarity is what it says."""
    points, centroids = features.double().cpu(), result.centroids.double().cpu()
    if spherical:
        points = torch.nn.functional.normalize(points, dim=1)
        scores = points @ centroids.T
    else:
        scores = -(points[:, None] - centroids).square().sum(-1)
    own = scores.gather(1, result.assignment.cpu()[:, None])[:, 0]
    scale = float(scores.abs().max().clamp(min=1))
    torch.testing.assert_close(result.similarity.cpu().double(), own, rtol=1e-5, atol=1e-6 * scale)
    assert (own >= scores.amax(1) - 1e-5 * scale).all()
    assert (result.assignment.dtype, result.similarity.dtype, result.centroids.dtype) == (
        torch.int64,
        torch.float32,
        torch.float32,
    )


def test_by_hand(trainer: str, device: torch.device) -> None:
    line = torch.tensor([[0.0], [1.0], [10.0], [12.0]], device=device)
    result = kmeans(line, 2, spherical=False, backend=trainer)
    low = int(result.assignment[0])
    assert result.assignment.tolist() == [low, low, 1 - low, 1 - low]
    torch.testing.assert_close(result.centroids[[low, 1 - low]].cpu(), torch.tensor([[0.5], [11.0]]))
    torch.testing.assert_close(result.similarity.cpu(), torch.tensor([-0.25, -0.25, -1.0, -1.0]))
    turned = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 9.0], [5.0, 0.0]], device=device)
    result = kmeans(turned, 2, backend=trainer)
    first = int(result.assignment[0])
    assert result.assignment.tolist() == [first, 1 - first, 1 - first, first]
    torch.testing.assert_close(result.centroids[[first, 1 - first]].cpu(), torch.eye(2))
    torch.testing.assert_close(result.similarity.cpu(), torch.ones(4))


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize(("n_rows", "k"), [(1, 1), (7, 1), (7, 7), (50, 9), (300, 40)])
def test_rows_lie_at_their_nearest_centroid(
    spherical: bool, n_rows: int, k: int, trainer: str, device: torch.device
) -> None:
    features = torch.randn(n_rows, 6, generator=torch.Generator().manual_seed(n_rows)).to(device)
    before = features.clone()
    result = kmeans(features, k, spherical, backend=trainer)
    _holds(result, features, spherical)
    assert torch.equal(features, before)
    assert result.centroids.shape == (k, 6)
    # distinct rows: no cluster is empty
    assert result.assignment.unique().tolist() == list(range(k))
    if spherical:
        torch.testing.assert_close(result.centroids.norm(dim=1).cpu(), torch.ones(k))


@pytest.mark.parametrize("spherical", [True, False])
def test_finds_separate_blobs_once_converged(spherical: bool, device: torch.device) -> None:
    features = _blobs(3, 40)
    result = kmeans(features.to(device), 3, spherical, iterations=100, backend="torch")
    for k in range(3):
        members = features[result.assignment.cpu() == k]
        if spherical:
            members = torch.nn.functional.normalize(members, dim=1)
        mean = members.mean(0)
        torch.testing.assert_close(
            result.centroids[k].cpu(), mean / mean.norm() if spherical else mean, rtol=1e-5, atol=1e-6
        )


def test_more_iterations_fit_better(trainer: str, device: torch.device) -> None:
    features = torch.randn(400, 5, generator=torch.Generator().manual_seed(1)).to(device)
    fits = [float(kmeans(features, 20, iterations=n, backend=trainer).similarity.mean()) for n in (1, 3, 30)]
    assert fits == sorted(fits)
    assert fits[0] < fits[-1]


def test_the_same_seed_gives_the_same_bits(trainer: str, device: torch.device) -> None:
    features = torch.randn(200, 5, generator=torch.Generator().manual_seed(2)).to(device)
    one, again, other = (kmeans(features, 15, iterations=2, seed=seed, backend=trainer) for seed in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.assignment, other.assignment)
    kmeans(features, 15, seed=2**40, backend=trainer)


def test_halves_strides_scale_and_origin(trainer: str, device: torch.device) -> None:
    features = _blobs(5, 20, seed=3).to(device)
    result = kmeans(features, 5, backend=trainer)
    wide = torch.zeros(8, 200, device=device)
    wide[:, ::2] = features.T
    assert torch.equal(kmeans(wide.T[::2], 5, backend=trainer).assignment, result.assignment)
    scales = torch.logspace(-30, 30, 100, device=device)[:, None]
    assert torch.equal(kmeans(features * scales, 5, backend=trainer).assignment, result.assignment)
    assert torch.equal(kmeans(features.bfloat16(), 5, backend=trainer).assignment, result.assignment)
    flat = kmeans(features, 5, spherical=False, backend=trainer)
    far = kmeans(features + 1000, 5, spherical=False, backend=trainer)
    assert torch.equal(far.assignment, flat.assignment)
    torch.testing.assert_close(far.similarity, flat.similarity, rtol=0.01, atol=0.001)


@pytest.mark.parametrize("spherical", [True, False])
def test_fewer_distinct_rows_than_clusters(spherical: bool, trainer: str, device: torch.device) -> None:
    features = torch.eye(3, 4).repeat(10, 1).to(device)
    result = kmeans(features, 8, spherical, backend=trainer)
    assert result.centroids.isfinite().all()
    assert 1 <= len(result.assignment.unique()) <= 8
    # copies go together, and the three kinds do not
    assert torch.equal(result.assignment, result.assignment[:3].repeat(10))
    _holds(result, features, spherical)
    zeros = kmeans(torch.zeros(5, 3, device=device), 2, spherical, backend=trainer)
    assert zeros.centroids.isfinite().all()
    assert torch.equal(zeros.similarity, torch.zeros_like(zeros.similarity))


def test_an_empty_cluster_starts_again_elsewhere(device: torch.device) -> None:
    # nine of ten rows are the same, so that most of the first centroids are
    features = torch.cat([torch.tensor([[1.0, 0.0, 0.0]]).repeat(180, 1), _blobs(20, 1, 3, seed=4)]).to(device)
    result = kmeans(features, 12, backend="torch")
    assert result.assignment.unique().tolist() == list(range(12))


def test_ties_go_to_the_lower_centroid(device: torch.device) -> None:
    points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], device=device)
    for spherical in (True, False):
        assignment, _ = MODULE._assign(points, points[[1, 0, 0]], spherical)
        assert assignment.tolist() == [1, 0, 1]


def test_an_empty_cluster_takes_the_row_that_fits_worst(device: torch.device) -> None:
    points = torch.tensor([[5.0, 0.0], [8.0, 0.0], [0.0, 1.0], [0.0, 2.5]], device=device)
    centroids = torch.tensor([[6.0, 0.0], [0.0, 1.0], [50.0, 50.0], [70.0, 70.0]], device=device)
    assignment, similarity = MODULE._assign(points, centroids, spherical=False)
    assert assignment.tolist() == [0, 0, 1, 1]
    assert similarity.tolist() == [-1, -4, 0, -2.25]
    moved = MODULE._update(points, assignment, similarity, 4, spherical=False)
    assert moved.tolist() == [[6.5, 0], [0, 1.75], [8, 0], [0, 2.5]]


def test_cosines_never_exceed_one(trainer: str, device: torch.device) -> None:
    features = torch.randn(50, 37, generator=torch.Generator().manual_seed(8)).to(device)
    assert kmeans(features, 50, backend=trainer).similarity.max() <= 1


def test_blocks_agree(trainer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(101, 6, generator=torch.Generator().manual_seed(5))
    for spherical in (True, False):
        monkeypatch.setattr(MODULE, "MAX_PAIRS", 10**6)
        whole = kmeans(features, 10, spherical, backend=trainer)
        monkeypatch.setattr(MODULE, "MAX_PAIRS", 30)
        parts = kmeans(features, 10, spherical, backend=trainer)
        assert torch.equal(parts.assignment, whole.assignment)
        torch.testing.assert_close(parts.similarity, whole.similarity)


@pytest.mark.skipif(not HAS_FAISS, reason="faiss is not installed")
def test_faiss_trains_on_all_rows_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    # 600 rows for one centroid, of which faiss by itself would take 256; two rows a centroid, where it would warn
    features = torch.randn(600, 4, generator=torch.Generator().manual_seed(6))
    result = kmeans(features, 1, spherical=False, backend="faiss")
    torch.testing.assert_close(result.centroids[0], features.mean(0), rtol=0, atol=1e-5)
    kmeans(features[:80], 40, backend="faiss")
    assert capfd.readouterr() == ("", "")


def test_auto_takes_torch_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(7))
    monkeypatch.setitem(sys.modules, "faiss", None)
    plain, auto = kmeans(features, 4, backend="torch"), kmeans(features, 4)
    assert all(torch.equal(one, other) for one, other in zip(plain, auto, strict=True))
    with pytest.raises(ImportError, match=r'pip install "prunekit\[data\]"'):
        kmeans(features, 4, backend="faiss")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(3)}, r"\[N, D\]"),
        ({"features": torch.zeros(3, 0)}, "D of at least 1"),
        ({"features": torch.zeros(3, 2).long()}, "floating"),
        ({"k": 0}, "between 1 and 3"),
        ({"k": 4}, "between 1 and 3"),
        ({"features": torch.zeros(0, 2)}, "between 1 and 0"),
        ({"iterations": 0}, "iteration"),
        ({"backend": "triton"}, "backend"),
        ({"features": torch.tensor([[0.0], [1.0], [torch.nan]])}, "row 2"),
        ({"features": torch.tensor([[0.0], [torch.inf], [1.0]]), "spherical": False}, "row 1"),
    ],
)
def test_refuses(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kmeans(**{"features": torch.zeros(3, 2), "k": 2, **change})
