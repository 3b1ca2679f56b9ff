"""Farthest-point traversal on both backends, against the loop over all pairs in float64."""

import sys

import numpy as np
import pytest
import torch

from prunekernels import _farthest_rounds, _sets
from prunekernels.farthest_point import farthest_point

# the function of the same name hides it from a plain import
module = sys.modules["prunekernels.farthest_point"]


def _brute(features: torch.Tensor, n: int, metric: str = "cosine", start: int | str = "isolated") -> list[int]:
    points = features.double()
    if metric == "cosine":
        points = torch.nn.functional.normalize(points, dim=-1)
    distances = (points[:, None] - points[None]).square().sum(-1)
    if start == "isolated":
        others = distances + torch.diag(torch.full((len(points),), torch.inf, dtype=torch.float64))
        start = int(others.amin(1).argmax())
    picks = [start]
    while len(picks) < n:
        nearest = distances[picks].amin(0)
        nearest[picks] = -1
        picks.append(int(nearest.argmax()))
    return picks[:n]


def test_by_hand(backend: str, device: torch.device) -> None:
    line = torch.tensor([[0.0], [1.0], [4.0], [10.0]], device=device)
    # nearest neighbours lie 1, 1, 3 and 6 away: 10 is isolated; then 0; then 4 (4 away) before 1 (1 away)
    assert farthest_point(line, 4, "euclidean", backend=backend).tolist() == [3, 0, 2, 1]
    assert farthest_point(line, 3, "euclidean", start=1, backend=backend).tolist() == [1, 3, 2]
    turned = torch.tensor([[1.0, 0.0], [5.0, 0.1], [0.0, 2.0], [-3.0, 0.0]], device=device)
    assert farthest_point(turned, 3, start=0, backend=backend).tolist() == [0, 3, 2]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("start", ["isolated", 0, 16])
@pytest.mark.parametrize(("n_rows", "n_dims"), [(17, 3), (64, 8), (65, 40)])
def test_agrees_with_brute_force(metric, start, n_rows, n_dims, backend: str, device: torch.device) -> None:
    features = torch.randn(n_rows, n_dims, generator=torch.Generator().manual_seed(n_rows))
    picks = farthest_point(features.to(device), n_rows // 2, metric, start, backend=backend)
    assert picks.tolist() == _brute(features, n_rows // 2, metric, start)


def test_picks_are_nested_and_turn_with_the_features(backend: str, device: torch.device) -> None:
    features = torch.randn(40, 12, generator=torch.Generator().manual_seed(5), dtype=torch.float64).float()
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(6))).Q
    picks = farthest_point(features.to(device), 20, backend=backend)
    assert farthest_point(features.to(device), 7, backend=backend).tolist() == picks[:7].tolist()
    assert farthest_point((features @ rotation).to(device), 20, backend=backend).tolist() == picks.tolist()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(7))
    shuffled = farthest_point(features[order].to(device), 20, backend=backend).cpu()
    assert order[shuffled].tolist() == picks.tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_duplicates_never_break_it(metric: str, backend: str, device: torch.device) -> None:
    features = torch.eye(4).repeat(5, 1).to(device)
    picks = farthest_point(features, 20, metric, start=0, backend=backend).tolist()
    assert sorted(picks) == list(range(20))
    assert {pick % 4 for pick in picks[:4]} == {0, 1, 2, 3}
    assert farthest_point(torch.zeros(6, 3, device=device), 6, metric, backend=backend).tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]


def test_ties_go_to_the_lower_index(backend: str, device: torch.device) -> None:
    # all coordinates and distances are small integers, so that ties are exact on every backend
    square = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0], [2.0, 2.0]], device=device)
    assert farthest_point(square, 5, "euclidean", backend=backend).tolist() == [0, 3, 1, 2, 4]
    assert farthest_point(square, 5, "euclidean", start=4, backend=backend).tolist() == [4, 0, 1, 2, 3]


def test_batches_of_sets_of_different_sizes(backend: str, device: torch.device) -> None:
    features = torch.randn(4, 30, 6, generator=torch.Generator().manual_seed(8)).to(device)
    sizes, counts = [30, 11, 0, 1], [5, 11, 0, 1]
    # what lies past a set's size must not be read
    for image, size in enumerate(sizes):
        features[image, size:] = torch.nan
    picks = farthest_point(features, counts, sizes=sizes, backend=backend)
    assert picks.shape == (4, 11)
    for image, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        alone = farthest_point(features[image, :size], count, backend=backend).tolist()
        assert picks[image].tolist() == alone + [-1] * (11 - count)


def test_what_lies_past_a_set_is_no_candidate(backend: str, device: torch.device) -> None:
    # a narrow cone: rows of zeros past the set's size would be the most isolated of all
    features = torch.ones(2, 12, 5) + 0.01 * torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(14))
    for metric in ("cosine", "euclidean"):
        picks = farthest_point(features.to(device), 6, metric, sizes=[6, 8], backend=backend)
        assert sorted(picks[0].tolist()) == list(range(6))
        assert picks[1].tolist() == _brute(features[1, :8], 6, metric)


def test_half_precision_is_widened_first(backend: str, device: torch.device) -> None:
    features = torch.randn(50, 16, generator=torch.Generator().manual_seed(9)).bfloat16().to(device)
    assert farthest_point(features, 25, backend=backend).tolist() == _brute(features.cpu(), 25)


def test_scale_strides_and_edges(backend: str, device: torch.device) -> None:
    features = torch.randn(20, 9, generator=torch.Generator().manual_seed(10)).to(device)
    picks = farthest_point(features, 9, backend=backend)
    scales = torch.logspace(-30, 30, 20, device=device)[:, None]
    assert torch.equal(farthest_point(features * scales, 9, backend=backend), picks)
    wide = torch.zeros(9, 40, device=device)
    wide[:, ::2] = features.T
    assert torch.equal(farthest_point(wide.T[::2], 9, backend=backend), picks)
    assert farthest_point(features, 0, backend=backend).tolist() == []
    assert farthest_point(features[:0], 0, backend=backend).tolist() == []
    assert farthest_point(features[:1], 1, backend=backend).tolist() == [0]
    assert farthest_point(features[None][:0], 0, backend=backend).shape[0] == 0


def test_the_centre_does_not_matter(backend: str, device: torch.device) -> None:
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(11))
    far = (features + 1000).to(device)
    assert farthest_point(far, 10, "euclidean", backend=backend).tolist() == _brute(far.cpu(), 10, "euclidean")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("start", ["isolated", 3])
@pytest.mark.parametrize("chunk", [1, 3, 8, 70])
def test_rounds_of_every_size_pick_the_same(metric, start, chunk, monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(70, 5, generator=torch.Generator().manual_seed(12))
    # a hundred rows around one place and one far away: most bounds rule nothing out
    features = torch.cat([features, features[:30] * 0.3 + 1, torch.full((1, 5), 9.0)])
    monkeypatch.setattr(_farthest_rounds, "CHUNK", chunk)
    monkeypatch.setattr(module, "SMALL", 0)
    for n in (1, 2, 33, 101):
        picks = farthest_point(features, n, metric, start, backend="torch").tolist()
        assert picks == _brute(features, n, metric, start)


def test_rounds_compare_few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, compared = torch.Generator().manual_seed(13), []
    features = torch.randn(3000, 12, generator=generator)
    # most rows lie close together, as patches of paper do
    features[300:] = features[:20].repeat(135, 1) + 0.01 * features[300:]
    pairs = _farthest_rounds._pairs

    def counted(rows: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        compared.append(len(rows) * len(others[1]))
        return pairs(rows, *others)

    monkeypatch.setattr(_farthest_rounds, "_pairs", counted)
    picks = farthest_point(features, 300, "euclidean", 0, backend="torch").tolist()
    assert picks == _brute(features, 300, "euclidean", 0)
    assert sum(compared) < 0.55 * 300 * 3000


@pytest.mark.parametrize("chunk", [2, 8])
def test_the_isolated_row_is_found_among_near_rivals(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_farthest_rounds, "CHUNK", chunk)
    monkeypatch.setattr(module, "SMALL", 0)
    for seed in range(100):
        features = torch.randn(60, 3, generator=torch.Generator().manual_seed(seed))
        assert farthest_point(features, 1, backend="torch").tolist() == _brute(features, 1)


def test_the_largest_numbers_are_never_picked_twice(backend: str, device: torch.device) -> None:
    # differences beyond float32: 1 stands alone with 3, at 3e38 (the tie is the lower one's), then 0 at 6e38
    line = torch.tensor([[3e38], [-3e38], [3e38], [1.0]], device=device)
    assert farthest_point(line, 4, "euclidean", backend=backend).tolist() == [1, 0, 3, 2]
    assert farthest_point(line.double() * 1e200, 4, "euclidean", backend=backend).tolist() == [1, 0, 3, 2]
    tiny = torch.tensor([[0.0], [1e-44], [4e-44], [1e-43]], device=device)
    assert farthest_point(tiny, 4, "euclidean", backend=backend).tolist() == [3, 0, 2, 1]


def test_float64_rows_are_centred_before_they_are_rounded(backend: str, device: torch.device) -> None:
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(21), dtype=torch.float64)
    far = (features + 1e9).to(device)
    assert farthest_point(far, 15, "euclidean", backend=backend).tolist() == _brute(features, 15, "euclidean")


@pytest.mark.parametrize("start", [-1, 3])
def test_steps_without_a_wait_pick_the_same(start: int) -> None:
    # what a GPU runs where all pairs are too many, or Triton is missing
    points = torch.randn(60, 6, generator=torch.Generator().manual_seed(23))
    wanted = module.walk(points @ points.T, 25, start)
    assert torch.equal(_farthest_rounds.steps(points, 25, start), wanted)


def test_counts_of_any_whole_kind(backend: str, device: torch.device) -> None:
    features = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(22)).to(device)
    wanted = farthest_point(features, 3, start=2, backend=backend)
    for n in (np.int64(3), np.array([3, 3]), torch.tensor([3, 3]), (3, np.int32(3))):
        found = farthest_point(features, n, start=np.int64(2), sizes=np.array([9, 9]), backend=backend)
        assert torch.equal(found, wanted)
    with pytest.raises(TypeError):
        farthest_point(features, 2.5, backend=backend)


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_rounds_leave_ties_to_the_lower_index(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_farthest_rounds, "CHUNK", chunk)
    monkeypatch.setattr(module, "SMALL", 0)
    # whole numbers and twins: every distance is exact and ties with others
    grid = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0)).repeat(3, 1)
    for start in ("isolated", 7):
        picks = farthest_point(grid, 75, "euclidean", start, backend="torch").tolist()
        assert picks == _brute(grid, 75, "euclidean", start)
        # once one of each is taken, the twins follow in their order
        assert picks[25:] == sorted(picks[25:])


def test_blocks_of_a_large_set_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(50, 5, generator=torch.Generator().manual_seed(12))
    whole = farthest_point(features, 10, backend="torch")
    monkeypatch.setattr(_sets, "MAX_PAIRS", 7 * 50)
    monkeypatch.setattr(module, "SMALL", 0)
    assert torch.equal(farthest_point(features, 10, backend="torch"), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3), 1), "features"),
        ((torch.zeros(3, 2), 4), "between 0 and 3"),
        ((torch.zeros(3, 2), -1), "between 0 and 3"),
        ((torch.zeros(3, 2), 1, "manhattan"), "metric"),
        ((torch.zeros(3, 2), 1, "cosine", 3), "start"),
        ((torch.zeros(3, 2), 1, "cosine", "centre"), "start"),
        ((torch.zeros(3, 2).long(), 1), "floating"),
        ((torch.zeros(2, 3, 2), [1]), "counts"),
        ((torch.zeros(2, 3, 2), 1, "cosine", "isolated", [3, 4]), "set 1"),
        ((torch.tensor([[0.0], [torch.nan]]), 1), "row 1 of set 0"),
        ((torch.tensor([[[0.0]], [[torch.inf]]]), 1), "row 0 of set 1"),
    ],
)
def test_refuses(arguments, message: str, backend: str) -> None:
    with pytest.raises(ValueError, match=message):
        farthest_point(*arguments, backend=backend)
