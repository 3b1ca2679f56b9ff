"""Primitives as operators: one node of a compiled graph, a known shape before anything is computed."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from prunekernels.bipartite_merge import bipartite_merge
from prunekernels.dpp_map import dpp_map
from prunekernels.facility_location import facility_location
from prunekernels.farthest_point import farthest_point
from prunekernels.kmeans import kmeans
from prunekernels.max_cosine import max_cosine
from prunekernels.pool import pool
from prunekernels.thin_out import thin_out


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


CALLS: dict[str, tuple[Callable[..., object], tuple[torch.Tensor, ...]]] = {
    "farthest_point": (partial(farthest_point, n=5), (_draw(20, 8),)),
    "farthest_point, sets": (partial(farthest_point, n=[5, 3], sizes=[20, 4]), (_draw(2, 20, 8).bfloat16(),)),
    "dpp_map": (partial(dpp_map, n=5), (_draw(20, 8), _draw(20, seed=1).abs())),
    "facility_location": (partial(facility_location, n=5), (_draw(20, 8),)),
    "max_cosine": (max_cosine, (_draw(20, 8), _draw(20, seed=1), torch.arange(20) % 3)),
    "kmeans": (partial(kmeans, k=3, backend="torch"), (_draw(20, 8),)),
    "kmeans, faiss": (partial(kmeans, k=3), (_draw(20, 8),)),
    "pool": (partial(pool, factor=3, method="hierarchical", protected=1), (_draw(20, 8),)),
    "thin_out": (partial(thin_out, n=7, per_round=2), (_draw(20, 8),)),
    "bipartite_merge": (partial(bipartite_merge, r=4, protected=1), (_draw(2, 20, 8).bfloat16(), _draw(2, 20, 6))),
    "bipartite_merge, sizes": (
        lambda tokens, metric, sizes: bipartite_merge(tokens, metric, 4, sizes),
        (_draw(20, 8), _draw(20, 6), torch.ones(20)),
    ),
    "bipartite_merge, none": (partial(bipartite_merge, r=0), (_draw(20, 8), _draw(20, 6))),
}


def _tensors(result: object) -> tuple[torch.Tensor, ...]:
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _scipy(request: pytest.FixtureRequest) -> None:
    if "pool" in request.node.name:
        pytest.importorskip("scipy")


@pytest.mark.parametrize("name", CALLS)
def test_a_fake_result_is_like_the_real_one(name: str) -> None:
    call, inputs = CALLS[name]
    real = _tensors(call(*inputs))
    with FakeTensorMode() as mode:
        fake = _tensors(call(*(mode.from_tensor(each) for each in inputs)))
    for one, other in zip(fake, real, strict=True):
        assert (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)


@pytest.mark.parametrize("name", CALLS)
def test_compiles_as_one_graph(name: str) -> None:
    call, inputs = CALLS[name]
    torch.compiler.reset()

    def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # operations on both sides, which a break would cut apart
        return _tensors(call(tensors[0] * 2, *tensors[1:]))

    wanted = forward(*inputs)
    compiled = torch.compile(forward, fullgraph=True, backend="aot_eager", dynamic=False)
    for one, other in zip(compiled(*inputs), wanted, strict=True):
        assert torch.equal(one, other)


def test_a_compiled_call_takes_other_numbers_of_rows() -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        lambda rows: rows[farthest_point(rows, rows.shape[0] // 3)], fullgraph=True, backend="eager", dynamic=True
    )
    for n in (20, 31, 50):
        rows = _draw(n, 8)
        assert torch.equal(compiled(rows), rows[farthest_point(rows, n // 3)])


def test_pooling_by_kmeans_has_a_number_of_vectors_that_is_not_known_before() -> None:
    torch.compiler.reset()
    vectors = torch.eye(4).repeat(5, 1)
    compiled = torch.compile(lambda rows: pool(rows, 2, "kmeans").vectors * 2, fullgraph=True, backend="eager")
    assert torch.equal(compiled(vectors), pool(vectors, 2, "kmeans").vectors * 2)


def test_a_compiled_merge_has_its_gradient() -> None:
    torch.compiler.reset()
    tokens, metric = _draw(20, 8).requires_grad_(), _draw(20, 6)
    weights = _draw(16, 8, seed=2)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return (bipartite_merge(rows, metric, 4).tokens * weights).sum()

    (wanted,) = torch.autograd.grad(loss(tokens), tokens)
    (found,) = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(tokens), tokens)
    torch.testing.assert_close(found, wanted)
    assert wanted.abs().sum() > 0
