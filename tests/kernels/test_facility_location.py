"""Facility location by lazy greedy, against plain greedy over all pairs in float64."""

import sys

import pytest
import torch

from prunekernels.facility_location import _greedy, facility_location

MODULE = sys.modules["prunekernels.facility_location"]


def _brute(features: torch.Tensor, n: int) -> tuple[list[int], list[float]]:
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    similarity = (1 + unit @ unit.T) / 2
    covered = torch.zeros(len(features)).double()
    picks, gains = [], []
    for _ in range(n):
        gain = (similarity - covered).clamp(min=0).sum(1)
        gain[picks] = -1
        # exact ties are common here: two rows that are each other's nearest gain the same
        picks.append(int((gain >= gain.max() - 1e-6 * (1 + gain.max())).byte().argmax()))
        gains.append(float(gain[picks[-1]]))
        covered = torch.maximum(covered, similarity[picks[-1]])
    return picks, gains


def test_by_hand(device: torch.device) -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [-2.0, 0.0]], device=device)
    result = facility_location(features, 4)
    # 0, 1 and 2 stand for 2.5 rows each, and 0 is the first; then 1 adds a half for itself and a half for 3, as much
    # as 3 adds for itself; 3 has a half left, 2 nothing
    assert result.picks.tolist() == [0, 1, 3, 2]
    torch.testing.assert_close(result.gains.cpu(), torch.tensor([2.5, 1.0, 0.5, 0.0]))


@pytest.mark.parametrize(("n_rows", "n_dims"), [(1, 1), (9, 2), (40, 3), (130, 16), (300, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_agrees_with_plain_greedy(n_rows: int, n_dims: int, dtype: torch.dtype, device: torch.device) -> None:
    features = torch.randn(n_rows, n_dims, generator=torch.Generator().manual_seed(n_rows)).to(dtype)
    n = -(-n_rows // 3)
    picks, gains = _brute(features, n)
    result = facility_location(features.to(device), n)
    assert (result.picks.dtype, result.gains.dtype) == (torch.int64, torch.float32)
    assert result.picks.tolist() == picks
    # n_rows cosines with a rounding of 1.2e-7 each
    torch.testing.assert_close(result.gains.cpu().double(), torch.tensor(gains).double(), rtol=0, atol=1.2e-7 * n_rows)


def test_gains_never_increase_and_add_up(device: torch.device) -> None:
    features = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    result = facility_location(features.to(device), 200)
    assert sorted(result.picks.tolist()) == list(range(200))
    assert (result.gains.diff() <= 0).all()
    assert (result.gains >= 0).all()
    # with every row picked each one is covered by itself
    torch.testing.assert_close(result.gains.sum().cpu(), torch.tensor(200.0), rtol=1e-5, atol=0)
    unit = torch.nn.functional.normalize(features, dim=1)
    value = ((1 + unit @ unit[result.picks[:20].cpu()].T) / 2).amax(1).sum()
    torch.testing.assert_close(result.gains[:20].sum().cpu(), value)


def test_gains_never_increase_where_a_near_tie_goes_to_the_lower_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "TIE", 0.05)
    features = torch.randn(100, 6, generator=torch.Generator().manual_seed(1))
    assert (facility_location(features, 60).gains.diff() <= 0).all()


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    monkeypatch.setattr(MODULE, "MAX_PAIRS", 1000**2 - 1)
    monkeypatch.setattr(MODULE, "BLOCK_PAIRS", 4000)
    features = torch.randn(1000, 4, generator=torch.Generator().manual_seed(6))
    with Watch():
        facility_location(features, 10)
    # the features have 4,000 numbers, all pairs a million
    assert largest <= 4000


def test_picks_are_nested_and_turn_with_the_features(device: torch.device) -> None:
    features = torch.randn(80, 10, generator=torch.Generator().manual_seed(2))
    picks = facility_location(features.to(device), 30).picks
    assert torch.equal(facility_location(features.to(device), 9).picks, picks[:9])
    rotation = torch.linalg.qr(torch.randn(10, 10, generator=torch.Generator().manual_seed(3))).Q
    assert torch.equal(facility_location((features @ rotation).to(device), 30).picks, picks)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(4))
    assert torch.equal(order[facility_location(features[order].to(device), 30).picks.cpu()], picks.cpu())
    scales = torch.logspace(-30, 30, 80)[:, None]
    assert torch.equal(facility_location((features * scales).to(device), 30).picks, picks)


def test_duplicates_and_ties_go_to_the_lower_index(device: torch.device) -> None:
    # lengths and cosines are whole numbers: each corner gains the same, a second copy nothing
    features = (2 * torch.eye(4)).repeat(5, 1).to(device)
    result = facility_location(features, 20)
    assert result.picks.tolist() == list(range(20))
    assert result.gains.tolist() == [12.5, 2.5, 2.5, 2.5, *([0.0] * 16)]
    zeros = facility_location(torch.zeros(5, 3, device=device), 5)
    assert zeros.picks.tolist() == [0, 1, 2, 3, 4]
    # cosine 0 to all, itself too
    assert zeros.gains.tolist() == [2.5, 0, 0, 0, 0]


def test_a_bound_that_nearly_ties_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "FIRST_BLOCK", 1)
    unit, covered = torch.eye(2), torch.tensor([0.6, -1.0])
    # row 1 gains 1 for its own; row 0 gains .2 for its own and .5 for the other, a little less than its old bound says
    bounds = torch.tensor([1 - 5e-7, 2.0], dtype=torch.float64)
    assert MODULE._best(unit, unit @ unit.T, covered, bounds, 0) == 1
    torch.testing.assert_close(bounds, torch.tensor([0.7, 1.0], dtype=torch.float64))


@pytest.mark.parametrize(("first", "last", "block"), [(1, 1, 1), (1, 4, 97), (3, 1000, 10**6)])
@pytest.mark.parametrize("pairs", [0, 3600])
def test_blocks_and_stored_pairs_agree(first, last, block, pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(60, 5, generator=torch.Generator().manual_seed(5))
    whole = facility_location(features, 25)
    monkeypatch.setattr(MODULE, "FIRST_BLOCK", first)
    monkeypatch.setattr(MODULE, "LAST_BLOCK", last)
    monkeypatch.setattr(MODULE, "MAX_PAIRS", pairs)
    monkeypatch.setattr(MODULE, "BLOCK_PAIRS", block)
    result = facility_location(features, 25)
    assert torch.equal(result.picks, whole.picks)
    torch.testing.assert_close(result.gains, whole.gains)


def test_lazy_evaluates_far_fewer_than_all(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated, gains = 0, MODULE._gains

    def counted(unit, pairs, covered, rows):
        nonlocal evaluated
        evaluated += len(rows)
        assert len(rows) <= MODULE.LAST_BLOCK
        return gains(unit, pairs, covered, rows)

    monkeypatch.setattr(MODULE, "_gains", counted)
    monkeypatch.setattr(MODULE, "LAST_BLOCK", 64)
    features = torch.randn(1000, 8, generator=torch.Generator().manual_seed(6))
    facility_location(features, 100)
    assert evaluated < 0.2 * 1000 * 100


def test_edges_and_strides(device: torch.device) -> None:
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(7)).to(device)
    before = features.clone()
    assert facility_location(features, 0).picks.tolist() == []
    assert facility_location(features[:0], 0).gains.shape == (0,)
    assert facility_location(features[:1], 1).picks.tolist() == [0]
    wide = torch.zeros(8, 60, device=device)
    wide[:, ::2] = features.T
    assert torch.equal(facility_location(wide.T[::2], 10).picks, facility_location(features, 10).picks)
    assert torch.equal(features, before)


@pytest.mark.parametrize(
    ("features", "n", "message"),
    [
        (torch.zeros(3), 1, r"\[N, D\]"),
        (torch.zeros(3, 2), 4, "between 0 and 3"),
        (torch.zeros(3, 2), -1, "between 0 and 3"),
        (torch.zeros(3, 2).long(), 1, "floating"),
        (torch.tensor([[0.0], [torch.nan], [1.0]]), 1, "row 1"),
        (torch.tensor([[0.0], [1.0], [-torch.inf]]), 0, "row 2"),
    ],
)
def test_refuses(features: torch.Tensor, n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        facility_location(features, n)


def test_every_gain_in_every_step_picks_the_same() -> None:
    # what a GPU runs, without a wait
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(23))
    unit = torch.nn.functional.normalize(features, dim=1)
    picks, gains = _greedy(unit @ unit.T, 50)
    lazy = facility_location(features, 50)
    assert torch.equal(picks, lazy.picks)
    torch.testing.assert_close(gains, lazy.gains, rtol=1e-5, atol=1e-5)
