"""The largest cosine to an earlier row of the group, on both backends, against all pairs in float64."""

import sys

import pytest
import torch

from prunekernels.max_cosine import ROWS, TILE, MaxCosine, max_cosine


def _brute(features, order=None, groups=None) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs in float64: the similarity, and the matrix of pairs that count."""
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    index = torch.arange(len(features))
    keys = index if order is None else order
    earlier = (keys < keys[:, None]) | ((keys == keys[:, None]) & (index < index[:, None]))
    if groups is not None:
        earlier &= groups == groups[:, None]
    cosines = (unit @ unit.T).masked_fill(~earlier, -torch.inf)
    best = cosines.amax(1)
    return torch.where(best.isinf(), -1, best), cosines


def _agrees(result: MaxCosine, features, order=None, groups=None) -> None:
    best, cosines = _brute(features, order, groups)
    similarity, neighbor = result.similarity.cpu(), result.neighbor.cpu()
    assert (similarity.dtype, neighbor.dtype) == (torch.float32, torch.int64)
    # three roundings of length 1 (two rows and a sum of n_dims products in pairs) of up to 1.2e-7 each
    tolerance = 1.2e-7 * (3 + features.shape[1] ** 0.5)
    assert (similarity - best).abs().max() <= tolerance
    has = ~cosines.isinf().all(1)
    assert (neighbor[~has] == -1).all()
    # the row named is one that attains the largest cosine
    named = cosines[has].gather(1, neighbor[has, None])[:, 0]
    assert (named >= best[has] - 2 * tolerance).all()


def _problem(n_rows: int, n_dims: int, n_groups: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n_rows, n_dims, generator=generator)
    order = torch.randperm(n_rows, generator=generator)
    return features, order, torch.randint(-3, n_groups - 3, (n_rows,), generator=generator)


def test_by_hand(backend: str, device: torch.device) -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0], [-5.0, 0.0], [0.0, 0.0]], device=device)
    result = max_cosine(features, backend=backend)
    torch.testing.assert_close(result.similarity.cpu(), torch.tensor([-1.0, 0.0, 0.8, 0.0, 0.0]))
    assert result.neighbor.tolist() == [-1, 0, 1, 1, 0]
    # backwards, 4 and 3 are the first two: 2 has cosine 0 to 4, -0.6 to 3; 1 has .8 to 2; 0 has .6 to 2
    result = max_cosine(features, order=torch.arange(5, 0, -1, device=device), backend=backend)
    torch.testing.assert_close(result.similarity.cpu(), torch.tensor([0.6, 0.8, 0.0, 0.0, -1.0]))
    assert result.neighbor.tolist() == [2, 2, 4, 4, -1]
    groups = torch.tensor([7, -2, 7, 7, -2], device=device)
    result = max_cosine(features, groups=groups, backend=backend)
    torch.testing.assert_close(result.similarity.cpu(), torch.tensor([-1.0, -1.0, 0.6, -0.6, 0.0]))
    assert result.neighbor.tolist() == [-1, -1, 0, 2, 1]


# one row and column; tails of rows and dims; exactly a kernel's tile of 64 and one more; exactly 32 dims and one more
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (64, 32, 1), (65, 33, 1), (130, 40, 4), (200, 31, 90)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_agrees_with_float64(shape, dtype, backend: str, device: torch.device) -> None:
    features, order, groups = _problem(*shape)
    features = features.to(dtype)
    # the last dimension weighs most, where a missing tail shows
    features[:, -1] *= 4
    result = max_cosine(features.to(device), order.to(device), groups.to(device), backend=backend)
    _agrees(result, features, order, groups)
    _agrees(max_cosine(features.to(device), backend=backend), features)


@pytest.mark.parametrize("programs", [1, 5, 264])
def test_every_slice_and_tile_of_columns_counts(
    programs: int, backend: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["prunekernels._nearest"], "PROGRAMS", programs)
    features, _, _ = _problem(300, 8, 1, seed=3)
    _agrees(max_cosine(features.to(device), backend=backend), features)
    # a copy far back, in the very first row, just before, and at both ends of tiles
    for row, back in ((299, 299), (299, 1), (256, 192), (130, 66), (128, 64)):
        copy = features.clone()
        copy[row] = 2 * copy[row - back]
        result = max_cosine(copy.to(device), backend=backend)
        assert int(result.neighbor[row]) == row - back
        assert float(result.similarity[row]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("n_rows", [TILE, TILE + 1, 2 * TILE + 3])
def test_tiles_of_a_large_group_agree(n_rows: int) -> None:
    features, order, _ = _problem(n_rows, 5, 1, seed=n_rows)
    _agrees(max_cosine(features, order, backend="torch"), features, order)
    # every row ties with one in each earlier tile
    copies = max_cosine(torch.eye(4).repeat(n_rows, 1)[:n_rows], backend="torch")
    assert copies.neighbor[4:].tolist() == [row % 4 for row in range(4, n_rows)]


def test_groups_of_very_different_sizes(backend: str, device: torch.device) -> None:
    # in torch also more than a tile, and several batches
    sizes = [1, 1, 2, 63, 1, 3, 130, 1] + ([TILE + 5, 900, 2000, 900, 2, 1] if backend == "torch" else [])
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    features, order, _ = _problem(len(groups), 6, 1, seed=1)
    groups = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(2))]
    result = max_cosine(features.to(device), order.to(device), groups.to(device), backend=backend)
    _agrees(result, features, order, groups)


def test_thousands_of_small_groups_take_few_products(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["prunekernels.max_cosine"]
    shapes, compare = [], module._compare
    monkeypatch.setattr(module, "_compare", lambda unit: shapes.append(unit.shape[:2]) or compare(unit))
    groups = torch.arange(6000).repeat(2)[:10000]
    features, _, _ = _problem(10000, 4, 1)
    result = max_cosine(features, groups=groups, backend="torch")
    assert (result.neighbor[6000:] == torch.arange(4000)).all()
    # the 2,000 groups of one row are left out
    assert shapes == [(ROWS // 2, 2), (4000 - ROWS // 2, 2)]


def test_ties_go_to_the_row_that_comes_first(backend: str, device: torch.device) -> None:
    # lengths and cosines are whole numbers, exact on every backend
    features = torch.eye(4).repeat(40, 1) * 2
    result = max_cosine(features.to(device), backend=backend)
    assert result.neighbor.tolist() == [-1, 0, 0, 0, *(row % 4 for row in range(4, 160))]
    assert result.similarity.tolist() == [-1.0, 0.0, 0.0, 0.0, *([1.0] * 156)]
    # first by key, then by index: the rows of key 0 are the last half
    order = (torch.arange(160) < 80).long()
    result = max_cosine(features.to(device), order.to(device), backend=backend)
    assert result.neighbor[:80].tolist() == [80 + row % 4 for row in range(80)]
    assert result.neighbor[80:].tolist() == [-1, 80, 80, 80, *(80 + row % 4 for row in range(4, 80))]


def test_cosines_never_exceed_one(backend: str, device: torch.device) -> None:
    features = torch.randn(70, 37, generator=torch.Generator().manual_seed(8)).repeat(2, 1).to(device)
    similarity = max_cosine(features, backend=backend).similarity
    assert similarity.max() <= 1
    torch.testing.assert_close(similarity[70:].cpu(), torch.ones(70))


def test_order_of_rows_and_of_group_ids_does_not_matter(backend: str, device: torch.device) -> None:
    features, order, groups = (item.to(device) for item in _problem(150, 12, 7, seed=4))
    whole = max_cosine(features, order, groups, backend=backend)
    shuffle = torch.randperm(150, generator=torch.Generator().manual_seed(5)).to(device)
    result = max_cosine(features[shuffle], order[shuffle].double() / 7, -10 * groups[shuffle], backend=backend)
    torch.testing.assert_close(result.similarity, whole.similarity[shuffle], rtol=0, atol=1e-6)
    named = torch.where(result.neighbor >= 0, shuffle[result.neighbor], -1)
    assert torch.equal(named, whole.neighbor[shuffle])
    # a group alone says the same of its rows
    alone = max_cosine(features[groups == 1], order[groups == 1], backend=backend)
    torch.testing.assert_close(alone.similarity, whole.similarity[groups == 1], rtol=0, atol=1e-6)


def test_two_runs_give_the_same_bits(backend: str, device: torch.device) -> None:
    features, order, groups = (item.to(device) for item in _problem(140, 20, 3, seed=6))
    one, other = (max_cosine(features, order, groups, backend=backend) for _ in range(2))
    assert torch.equal(one.similarity, other.similarity)
    assert torch.equal(one.neighbor, other.neighbor)


def test_scale_strides_and_edges(backend: str, device: torch.device) -> None:
    features, _, _ = _problem(70, 9, 1, seed=7)
    features = features.to(device)
    result = max_cosine(features, backend=backend)
    scales = torch.logspace(-37, 37, 70, device=device)[:, None]
    scaled = max_cosine(features * scales, backend=backend)
    torch.testing.assert_close(scaled.similarity, result.similarity, rtol=0, atol=1e-6)
    assert torch.equal(scaled.neighbor, result.neighbor)
    wide = torch.zeros(9, 140, device=device)
    wide[:, ::2] = features.T
    assert torch.equal(max_cosine(wide.T[::2], backend=backend).neighbor, result.neighbor)
    before = features.clone()
    assert max_cosine(features[:0], backend=backend).similarity.shape == (0,)
    assert max_cosine(features[:1], backend=backend).neighbor.tolist() == [-1]
    assert max_cosine(features[:3, :0], backend=backend).similarity.tolist() == [-1, 0, 0]
    assert max_cosine(torch.zeros(70, 3, device=device), backend=backend).similarity[1:].abs().max() == 0
    assert torch.equal(features, before)


def test_memory_stays_bounded() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    features, _, _ = _problem(4000, 4, 1)
    with Watch():
        max_cosine(features, backend="torch")
        max_cosine(features, groups=torch.arange(4000) % 40, backend="torch")
    # all pairs are 16 million
    assert largest <= TILE * TILE


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_refuses_rows_that_are_not_finite(value: float, backend: str, device: torch.device) -> None:
    features = torch.zeros(6, 3, device=device)
    features[4, 1] = value
    with pytest.raises(ValueError, match="row 4"):
        # also where the row stands alone in its group
        max_cosine(features, groups=torch.arange(6, device=device), backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(3)}, r"features \[N, D\]"),
        ({"features": torch.zeros(3, 2).long()}, "floating"),
        ({"order": torch.zeros(2)}, r"order \[3\]"),
        ({"order": torch.tensor([0.0, torch.nan, 1.0])}, "order 1"),
        ({"groups": torch.zeros(4).long()}, r"groups \[3\]"),
        ({"groups": torch.zeros(3)}, "int64"),
    ],
)
def test_refuses(change, message: str, backend: str) -> None:
    with pytest.raises(ValueError, match=message):
        max_cosine(**{"features": torch.zeros(3, 2), **change}, backend=backend)
