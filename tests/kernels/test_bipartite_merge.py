"""ToMe's bipartite merge on both backends, against a loop over tokens in float64."""

import sys

import pytest
import torch

from prunekernels._backend import HAS_TRITON, is_interpreting
from prunekernels._leaving import leaving_numpy, leaving_torch, leaving_triton
from prunekernels.bipartite_merge import Merged, bipartite_merge


def _brute(tokens, metric, r, sizes=None, protected=0) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """One image [N, C], token by token: what is left, sizes, target."""
    n = len(tokens)
    unit = torch.nn.functional.normalize(metric.double(), dim=1)
    size = torch.ones(n).double() if sizes is None else sizes.double()
    matches = []
    for a in range(0, n, 2):
        choices = [b for b in range(1, n, 2) if b >= protected]
        if a >= protected and choices:
            best = max(choices, key=lambda b: (float(unit[a] @ unit[b]), -b))
            matches.append((-float(unit[a] @ unit[best]), a, best))
    into = {a: b for _, a, b in sorted(matches)[: min(r, max(n - protected, 0) // 2)]}
    groups = [[b, *(a for a in into if into[a] == b)] for b in range(n) if b not in into]
    total = torch.tensor([float(size[group].sum()) for group in groups])
    means = [(tokens[group].double() * size[group, None]).sum(0) / size[group].sum() for group in groups]
    target = [next(new for new, group in enumerate(groups) if old in group) for old in range(n)]
    return torch.stack(means), total, target


def _problem(images: int, n_tokens: int, width: int = 7, n_dims: int = 5, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(images, n_tokens, width, generator=generator)
    metric = torch.randn(images, n_tokens, n_dims, generator=generator)
    return tokens, metric, torch.randint(1, 9, (images, n_tokens), generator=generator).float()


def _equal(one: Merged, other: Merged) -> None:
    assert torch.equal(one.target, other.target)
    torch.testing.assert_close(one.tokens, other.tokens)
    torch.testing.assert_close(one.sizes, other.sizes)


def test_by_hand(backend: str, device: torch.device) -> None:
    # places 0, 2, 4 are A and 1, 3 are B; 0 is nearest to 3 (cosine .6), 2 to 1 (1), 4 to 3 (.8)
    metric = torch.tensor([[0.6, -0.8], [0.0, 2.0], [0.0, 1.0], [5.0, 0.0], [0.8, -0.6]], device=device)
    tokens = torch.tensor([[1.0], [10.0], [20.0], [40.0], [80.0]], device=device)
    sizes = torch.tensor([1.0, 3.0, 1.0, 1.0, 2.0], device=device)
    one = bipartite_merge(tokens, metric, 1, sizes, backend=backend)
    assert one.tokens.flatten().tolist() == [1.0, 12.5, 40.0, 80.0]
    assert one.sizes.tolist() == [1.0, 4.0, 1.0, 2.0]
    assert one.target.tolist() == [0, 1, 1, 2, 3]
    two = bipartite_merge(tokens, metric, 2, sizes, backend=backend)
    torch.testing.assert_close(two.tokens.flatten().cpu(), torch.tensor([1.0, 12.5, 200 / 3]))
    assert two.target.tolist() == [0, 1, 1, 2, 2]
    # without 1 and 0 there is one pair for 2 and 4 each: 3, and 4 is nearer
    rest = bipartite_merge(tokens, metric, 9, sizes, protected=2, backend=backend)
    assert rest.target.tolist() == [0, 1, 2, 3, 3]
    torch.testing.assert_close(rest.tokens.flatten().cpu(), torch.tensor([1.0, 10.0, 20.0, 200 / 3]))


# one token; odd and even; more than a tile of 64 in A and in B, exactly and by one; more than 32 dims
@pytest.mark.parametrize(
    ("n_tokens", "n_dims"), [(1, 1), (2, 3), (9, 5), (20, 33), (128, 32), (129, 4), (130, 4), (131, 3)]
)
@pytest.mark.parametrize("protected", [0, 1, 2, 5])
def test_agrees_with_the_loop(n_tokens: int, n_dims: int, protected: int, backend: str, device: torch.device) -> None:
    tokens, metric, sizes = _problem(2, n_tokens, n_dims=n_dims, seed=n_tokens + protected)
    # the last dimension weighs most, where a missing tail shows
    metric[..., -1] *= 3
    for r in (1, n_tokens // 4, n_tokens):
        merged = bipartite_merge(tokens.to(device), metric.to(device), r, sizes.to(device), protected, backend=backend)
        for image in range(2):
            means, total, target = _brute(tokens[image], metric[image], r, sizes[image], protected)
            assert merged.target[image].tolist() == target
            torch.testing.assert_close(merged.tokens[image].cpu().double(), means, rtol=1e-5, atol=1e-5)
            assert merged.sizes[image].tolist() == total.tolist()


def test_sizes_and_weighted_sums_are_conserved(backend: str, device: torch.device) -> None:
    for seed in range(6):
        tokens, metric, sizes = (item.to(device) for item in _problem(3, 30 + seed, seed=seed))
        before = (tokens.double() * sizes[..., None]).sum(1)
        total = sizes.sum(1)
        for step in range(4):
            tokens, sizes, target = bipartite_merge(tokens, metric, 5, sizes, protected=1, backend=backend)
            assert tokens.shape[1] == sizes.shape[1] == 30 + seed - 5 * (step + 1)
            assert target.max() == tokens.shape[1] - 1
            metric = tokens
            assert torch.equal(sizes.sum(1), total)
            torch.testing.assert_close((tokens.double() * sizes[..., None]).sum(1), before, rtol=1e-5, atol=1e-4)


def test_what_is_left_keeps_its_order_and_bits(backend: str, device: torch.device) -> None:
    tokens, metric, sizes = (item.to(device) for item in _problem(2, 41, seed=3))
    merged = bipartite_merge(tokens, metric, 12, sizes, protected=3, backend=backend)
    for image in range(2):
        places = [(merged.target[image] == new).nonzero().flatten().tolist() for new in range(29)]
        # a merged token stands where its B stood, the only odd place of its group
        homes = [group[0] if len(group) == 1 else next(place for place in group if place % 2) for group in places]
        assert homes == sorted(homes)
        assert homes[:3] == [0, 1, 2]
        assert all(len(group) == 1 for group in places[:3])
        for new, group in enumerate(places):
            if len(group) == 1:
                assert torch.equal(merged.tokens[image, new], tokens[image, group[0]])


def test_nothing_to_merge_is_identity(backend: str, device: torch.device) -> None:
    tokens, metric, sizes = (item.to(device) for item in _problem(2, 10))
    for r, protected in ((0, 0), (5, 9), (5, 10), (5, 99)):
        merged = bipartite_merge(tokens, metric, r, sizes, protected, backend=backend)
        assert torch.equal(merged.tokens, tokens)
        assert torch.equal(merged.sizes, sizes)
        assert merged.target.tolist() == [list(range(10))] * 2
    assert bipartite_merge(tokens, metric, 99, backend=backend).tokens.shape == (2, 5, 7)
    assert bipartite_merge(tokens[:, :0], metric[:, :0], 3, backend=backend).tokens.shape == (2, 0, 7)
    assert bipartite_merge(tokens[:0], metric[:0], 0, backend=backend).tokens.shape == (0, 10, 7)
    # of no images each has 3 tokens less
    assert bipartite_merge(tokens[:0], metric[:0], 3, backend=backend).tokens.shape == (0, 7, 7)


def test_images_do_not_depend_on_their_mates(backend: str, device: torch.device) -> None:
    tokens, metric, sizes = (item.to(device) for item in _problem(5, 33, seed=4))
    together = bipartite_merge(tokens, metric, 9, sizes, 1, backend=backend)
    for image in range(5):
        alone = bipartite_merge(tokens[image], metric[image], 9, sizes[image], 1, backend=backend)
        _equal(alone, Merged(*(field[image] for field in together)))
        assert alone.tokens.ndim == 2
    again = bipartite_merge(tokens, metric, 9, sizes, 1, backend=backend)
    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True))


def test_ties_go_to_the_lower_index(backend: str, device: torch.device) -> None:
    # all pairs tie: every token of A chooses place 1, and the first ones of A go
    tokens = torch.arange(200.0, device=device)[:, None]
    merged = bipartite_merge(tokens, torch.ones(200, 4, device=device), 3, backend=backend)
    assert merged.target[:8].tolist() == [0, 0, 0, 1, 0, 2, 3, 4]
    assert merged.tokens[0].item() == (0 + 1 + 2 + 4) / 4
    # zero rows have cosine 0 to all
    merged = bipartite_merge(tokens, torch.zeros(200, 4, device=device), 100, protected=2, backend=backend)
    assert merged.target[:8].tolist() == [0, 1, 2, 2, 2, 3, 2, 4]


def test_halves_are_compared_and_summed_in_float32(backend: str, device: torch.device) -> None:
    tokens, metric, _ = _problem(1, 64, seed=5)
    tokens, metric = (100 * tokens).bfloat16(), metric.bfloat16()
    merged = bipartite_merge(tokens.to(device), metric.to(device), 20, backend=backend)
    means, _, target = _brute(tokens[0], metric[0], 20)
    assert merged.tokens.dtype == torch.bfloat16
    assert merged.target[0].tolist() == target
    # the mean is exact to float32, and rounded to bfloat16 once
    assert torch.equal(merged.tokens[0].cpu(), means.float().bfloat16())
    wide = bipartite_merge(tokens.double().to(device), metric.to(device), 20, backend=backend)
    torch.testing.assert_close(wide.tokens[0].cpu(), means, rtol=1e-12, atol=0)


@pytest.mark.parametrize("programs", [1, 7, 264])
def test_slices_and_blocks_agree(programs: int, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["prunekernels._nearest"], "PROGRAMS", programs)
    monkeypatch.setattr(sys.modules["prunekernels._leaving"], "MAX_PAIRS", 1000)
    tokens, metric, sizes = (item.to(device) for item in _problem(3, 331, seed=6))
    fused, plain = (bipartite_merge(tokens, metric, 120, sizes, 1, backend=name) for name in ("triton", "torch"))
    _equal(fused, plain)


def test_strides_scale_and_gradients(backend: str, device: torch.device) -> None:
    tokens, metric, sizes = (item.to(device) for item in _problem(2, 24, seed=7))
    merged = bipartite_merge(tokens, metric, 8, sizes, backend=backend)
    turned = (tokens.mT.contiguous().mT, metric.repeat(1, 1, 2)[..., ::2].flip(-1).flip(-1), sizes.mT.clone().mT)
    bent = torch.zeros(2, 48, 5, device=device)
    bent[:, ::2] = metric
    _equal(bipartite_merge(turned[0], bent[:, ::2], 8, turned[2], backend=backend), merged)
    scales = torch.logspace(-30, 30, 24, device=device)[:, None]
    _equal(bipartite_merge(tokens, metric * scales, 8, sizes, backend=backend), merged)
    tokens.requires_grad_()
    bipartite_merge(tokens, metric.requires_grad_(), 8, sizes, backend=backend).tokens.sum().backward()
    # a mean hands each member its share of the size
    share = sizes / merged.sizes.gather(1, merged.target)
    torch.testing.assert_close(tokens.grad, share[..., None].expand_as(tokens))


@pytest.mark.parametrize("where", ["tokens", "metric"])
def test_refuses_rows_that_are_not_finite(where: str, backend: str, device: torch.device) -> None:
    tokens, metric, _ = (item.to(device) for item in _problem(2, 6))
    (tokens if where == "tokens" else metric)[1, 4, 2] = torch.nan
    with pytest.raises(ValueError, match=f"row 4 of set 1 of {where}"):
        bipartite_merge(tokens, metric, 2, backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": torch.zeros(4)}, "tokens"),
        ({"tokens": torch.zeros(5, 2)}, "tokens"),
        ({"metric": torch.zeros(1, 4, 2)}, "metric"),
        ({"tokens": torch.zeros(4, 2).long()}, "floating"),
        ({"r": -1}, "at least 0"),
        ({"protected": -1}, "at least 0"),
        ({"sizes": torch.ones(3)}, "sizes"),
        ({"sizes": torch.tensor([1.0, 1.0, 0.0, 1.0])}, "row 2"),
        ({"sizes": torch.tensor([1.0, torch.nan, 1.0, 1.0])}, "row 1"),
    ],
)
def test_refuses(change, message: str, backend: str) -> None:
    arguments = {"tokens": torch.zeros(4, 2), "metric": torch.zeros(4, 3), "r": 1, **change}
    with pytest.raises(ValueError, match=message):
        bipartite_merge(**arguments, backend=backend)


@pytest.mark.parametrize("protected", [0, 1, 2, 3])
def test_every_way_finds_the_same_to_leave(protected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # on a GPU without Triton, and with more tokens than a kernel holds
    unit = torch.nn.functional.normalize(torch.randn(3, 41, 6, generator=torch.Generator().manual_seed(23)), dim=-1)
    wanted = leaving_numpy(unit, 9, protected)
    assert all(map(torch.equal, leaving_torch(unit, 9, protected), wanted))
    if HAS_TRITON and is_interpreting():
        assert all(map(torch.equal, leaving_triton(unit, 9, protected), wanted))
        monkeypatch.setattr(sys.modules["prunekernels._leaving"], "LARGE", 40)
        assert all(map(torch.equal, leaving_triton(unit, 9, protected), wanted))
