"""The same bits whatever surrounds a call: autocast, defaults, gradients, torch.compile, others of a batch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
import torch

from prunekernels import binary_codes, budget, residual_codes, segments, select
from prunekernels.attention_received import attention_received
from prunekernels.page_rank import page_rank
from prunekernels.token_stats import token_stats

Tensors = tuple[torch.Tensor, ...]


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype, device="cpu")


X, W, LABELS = _random(70, 96), _random(300, 96, seed=1), torch.arange(70) * 4
Q, K = _random(3, 4, 45, 32), _random(3, 2, 45, 32, seed=2)
SCORES, IDS = _random(200), torch.arange(200) % 7


def _residuals(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    buckets = residual_codes.fit(x, 2)
    packed = residual_codes.encode(x, buckets.cutoffs)
    return *buckets, packed, residual_codes.decode(packed, buckets.weights, 96)


CALLS: dict[str, tuple[Callable[..., object], Tensors]] = {
    "token_stats": (lambda x, w: token_stats(x, w, LABELS), (X, W)),
    "attention_received": (lambda q, k: attention_received(q, k, causal=True), (Q, K)),
    "page_rank": (lambda w: page_rank(w.softmax(-1, dtype=torch.float32), 20), (_random(5, 40, 40),)),
    "page_rank of attention": (lambda q, k: page_rank((q, k), 20), (Q, K)),
    "top": (lambda scores: select.top(scores, 20), (SCORES,)),
    "middle": (lambda scores: select.middle(scores, [3] * 7, IDS), (SCORES,)),
    "sample": (lambda scores: select.sample(scores.detach().abs(), 20, 0), (SCORES,)),
    "reduce": (lambda values: segments.reduce(values, IDS, "mean"), (SCORES,)),
    "residual_codes": (_residuals, (X,)),
    "binary_codes": (
        lambda x: binary_codes.agreement(binary_codes.signs(x[:9]), binary_codes.signs(x), [70], 96),
        (X,),
    ),
    "allocate": (lambda weights: budget.allocate(50, [20] * 5, weights.detach()[:5].abs()), (SCORES,)),
}


@contextmanager
def _default(dtype: torch.dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _flat(result: object) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else [*result]


# functions with a file of their own name: test_surroundings.py
@pytest.mark.parametrize("name", ["top", "middle", "sample", "reduce", "allocate", "residual_codes", "binary_codes"])
@pytest.mark.parametrize(
    "around",
    [
        lambda: torch.autocast("cpu", torch.bfloat16), lambda: _default(torch.bfloat16),
        lambda: _default(torch.float64), lambda: torch.device("meta"),
    ],
    ids=["autocast", "bfloat16", "float64", "device"],
)  # fmt: skip
def test_surroundings_change_no_pick(name: str, around: Callable[[], AbstractContextManager]) -> None:
    run, inputs = CALLS[name]
    plain = _flat(run(*inputs))
    with around():
        inside = _flat(run(*inputs))
    for one, other in zip(plain, inside, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", CALLS)
def test_scores_are_part_of_no_graph(name: str) -> None:
    run, inputs = CALLS[name]
    with_grad = [item.clone().requires_grad_() for item in inputs]
    for one, other in zip(_flat(run(*with_grad)), _flat(run(*inputs)), strict=True):
        assert not one.requires_grad
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["attention_received", "page_rank", "page_rank of attention", "top"])
def test_compiles_as_one_graph(name: str) -> None:
    run, inputs = CALLS[name]
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*inputs), run(*inputs))


@pytest.mark.parametrize("sample", range(3))
def test_attention_of_a_sample_is_its_own(sample: int) -> None:
    pads = torch.arange(45) >= torch.tensor([[0], [4], [9]])
    for mask in (pads, pads.flip(1)):
        real = mask[sample].nonzero().flatten()
        for causal in (False, True):
            together = attention_received(Q, K, causal=causal, mask=mask)[sample][:, real]
            alone = attention_received(Q[sample : sample + 1, :, real], K[sample : sample + 1, :, real], causal=causal)
            assert torch.equal(together, alone[0])


def test_a_graph_votes_by_itself() -> None:
    graphs = (2 * _random(7, 33, 33)).softmax(-1)
    together = page_rank(graphs, 30)
    for graph, mass in zip(graphs, together, strict=True):
        assert torch.equal(page_rank(graph, 30), mass)


def test_votes_that_are_left_out_change_nothing() -> None:
    # one graph that settles at once, and one that hardly moves but never stops
    slow = 0.999 * torch.eye(50) + 0.001 * (3 * _random(50, 50)).softmax(-1)
    start = torch.rand(50, generator=torch.Generator().manual_seed(0))
    for graph in ((_random(50, 50)).softmax(-1), slow / slow.sum(-1, keepdim=True)):
        exact = torch.linalg.matrix_power(graph.double().mT, 50) @ start.double()
        torch.testing.assert_close(page_rank(graph, 50, start).double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("n_rows", [1, 2, 5, 17])
def test_a_token_has_its_own_statistics(n_rows: int) -> None:
    for one, other in zip(token_stats(X, W, LABELS), token_stats(X[:n_rows], W, LABELS[:n_rows]), strict=True):
        assert torch.equal(one[:n_rows], other)


def test_mixed_dtypes(backend: str, device: torch.device) -> None:
    x, w, q, k = (item.to(device) for item in (X, W, Q, K))
    labels = LABELS.to(device)
    for first, second in ((torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)):
        a, b = x.to(first), w.to(second)
        mixed = token_stats(a, b, labels, backend=backend)
        torch.testing.assert_close(mixed.nll, token_stats(a.float(), b.float(), labels, backend=backend).nll)
        a, b = q.to(first), k.to(second)
        mixed_columns = attention_received(a, b, backend=backend)
        torch.testing.assert_close(mixed_columns, attention_received(a.float(), b.float(), backend=backend))
    scaled = attention_received(q.bfloat16(), k.bfloat16(), scale=0.5, backend=backend)
    torch.testing.assert_close(scaled, attention_received(q.bfloat16().float() * 0.5 * 32**0.5, k.bfloat16().float()))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_are_any_whole_numbers(dtype: torch.dtype, backend: str, device: torch.device) -> None:
    x, w, labels = X[:20].to(device), W.to(device), (LABELS[:20]).to(device)
    got = token_stats(x, w, labels.to(dtype), backend=backend)
    assert torch.equal(got.nll, token_stats(x, w, labels, backend=backend).nll)
    for wrong in (labels.bool(), labels.float()):
        with pytest.raises(ValueError, match="whole labels"):
            token_stats(x, w, wrong, backend=backend)


def test_counts_are_any_whole_numbers() -> None:
    assert torch.equal(select.top(SCORES, np.int64(9)), select.top(SCORES, 9))
    assert torch.equal(select.middle(SCORES, np.int32(2), IDS), select.middle(SCORES, 2, IDS))
    assert budget.n_keep(np.int64(10), np.float32(0.5)) == 5
    assert budget.allocate(np.int64(4), np.array([3, 3])).tolist() == [2, 2]
    assert segments.sizes(IDS, np.int64(8)).tolist()[7] == 0
    assert torch.equal(page_rank(torch.eye(3), np.int64(2)), page_rank(torch.eye(3), 2))
    for call in (
        lambda: select.top(SCORES, 2.5), lambda: budget.n_keep(2.5, 0.5), lambda: budget.allocate(2.5, [3, 3]),
        lambda: page_rank(torch.eye(3), 1.5),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="whole number"):
            call()
