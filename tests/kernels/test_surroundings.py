"""What surrounds a call changes no bit of its result: every function of the core, under every setting of a process."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import pytest
import torch

import prunekernels
from prunekernels.attention_received import attention_received
from prunekernels.bipartite_merge import bipartite_merge
from prunekernels.centroid_interaction import centroid_interaction
from prunekernels.dpp_map import dpp_map
from prunekernels.el2n import el2n
from prunekernels.facility_location import facility_location
from prunekernels.farthest_point import farthest_point
from prunekernels.grand import grand
from prunekernels.kmeans import kmeans
from prunekernels.max_cosine import max_cosine
from prunekernels.max_sim import max_sim
from prunekernels.page_rank import page_rank
from prunekernels.pool import pool
from prunekernels.thin_out import thin_out
from prunekernels.token_stats import token_stats

N, WIDTH = 48, 40


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def _labels() -> torch.Tensor:
    return torch.arange(N, dtype=torch.int64, device="cpu") * 7 % WIDTH


# name: the call, and the tensors that it takes
CALLS: dict[str, tuple[Callable[..., object], Callable[[], tuple[torch.Tensor, ...]]]] = {
    "attention_received": (attention_received, lambda: (_draw(1, 2, N, WIDTH), _draw(1, 2, N, WIDTH, seed=1))),
    "bipartite_merge": (partial(bipartite_merge, r=9, protected=1), lambda: (_draw(N, WIDTH), _draw(N, 64, seed=1))),
    "centroid_interaction": (
        lambda table, weights: centroid_interaction(table, _labels(), [20, 0, N - 20], weights),
        lambda: (_draw(WIDTH, 9), _draw(9, seed=1)),
    ),
    "dpp_map": (partial(dpp_map, n=20), lambda: (_draw(N, WIDTH), _draw(N, seed=1).abs())),
    "el2n": (el2n, lambda: (_draw(N, WIDTH), _labels())),
    "facility_location": (partial(facility_location, n=20), lambda: (_draw(N, WIDTH),)),
    "farthest_point": (partial(farthest_point, n=20), lambda: (_draw(N, WIDTH),)),
    "grand": (grand, lambda: (_draw(N, WIDTH), _labels(), _draw(N, WIDTH, seed=1))),
    "kmeans": (partial(kmeans, k=7), lambda: (_draw(N, WIDTH),)),
    "max_cosine": (max_cosine, lambda: (_draw(N, WIDTH),)),
    "max_sim": (
        lambda questions, documents: max_sim(questions, documents, [20, 0, N - 20], [4, 5]),
        lambda: (_draw(9, WIDTH, seed=1), _draw(N, WIDTH)),
    ),
    "page_rank": (partial(page_rank, iterations=5), lambda: (_draw(2, N, N).softmax(-1),)),
    "pool": (partial(pool, factor=3, method="kmeans"), lambda: (_draw(N, WIDTH),)),
    "thin_out": (partial(thin_out, n=11), lambda: (_draw(N, WIDTH),)),
    "token_stats": (token_stats, lambda: (_draw(N, WIDTH), _draw(WIDTH, WIDTH, seed=1), _labels())),
}

FORMS = {
    "farthest_point, euclidean": (partial(farthest_point, n=20, metric="euclidean"), CALLS["farthest_point"][1]),
    "kmeans, torch": (partial(kmeans, k=7, backend="torch"), CALLS["kmeans"][1]),
    "kmeans, euclidean": (partial(kmeans, k=7, spherical=False, backend="torch"), CALLS["kmeans"][1]),
    "farthest_point, many rows": (partial(farthest_point, n=9), lambda: (_draw(1100, 8),)),
}


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _coarse_products() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default bfloat16": lambda: _default_dtype(torch.bfloat16),
    "default float64": lambda: _default_dtype(torch.float64),
    "default device": lambda: torch.device("meta"),
    "coarse products": _coarse_products,
    "inference": torch.inference_mode,
    "a graph": nullcontext,
}


def _found() -> set[str]:
    """The functions that stand in a file of their own name."""
    names = {module.name for module in pkgutil.iter_modules(prunekernels.__path__) if module.name[0] != "_"}
    modules = {name: importlib.import_module(f"prunekernels.{name}") for name in names}
    return {name for name, module in modules.items() if inspect.isfunction(getattr(module, name, None))}


def _tensors(result: object) -> tuple[torch.Tensor, ...]:
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)  # type: ignore[arg-type]


def _same(one: object, other: object) -> bool:
    pairs = zip(_tensors(one), _tensors(other), strict=True)
    return all(left.dtype == right.dtype and torch.equal(left, right) for left, right in pairs)


def test_every_function_is_called_here() -> None:
    assert set(CALLS) == _found()


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("name", [*CALLS, *FORMS])
def test_surroundings_change_nothing(name: str, surroundings: str) -> None:
    call, make = (CALLS | FORMS)[name]
    inputs = make()
    plain = call(*inputs)
    is_graph = surroundings == "a graph"
    if is_graph:
        inputs = tuple(each.requires_grad_() if each.is_floating_point() else each for each in inputs)
    with SURROUNDINGS[surroundings]():
        result = call(*inputs)
    assert _same(result, plain)
    # a merge of tokens has a gradient, and nothing else
    graphs = [field.requires_grad for field in _tensors(result)]
    assert graphs == [is_graph and name == "bipartite_merge", *[False] * (len(graphs) - 1)]


def _batch(own: torch.Tensor, kind: str) -> torch.Tensor:
    """`own` [N, ...] third in a batch, behind a set that is a case of its own and one of other numbers."""
    other = own.flip(0) * 0.5
    strange = own.clone()
    if kind == "zero rows":
        strange[[0, 3, len(own) - 1]] = 0
    elif kind == "huge rows":
        strange[1], strange[2] = 1e30, 1e-30
    elif kind == "repeated rows":
        strange = own[:1].repeat(len(own), *[1] * (own.ndim - 1)) * torch.arange(1, len(own) + 1).view(
            -1, *[1] * (own.ndim - 1)
        )
    return torch.stack([strange, other, own])


SETS = ("farthest_point", "dpp_map", "bipartite_merge")


@pytest.mark.parametrize("kind", ["zero rows", "huge rows", "repeated rows"])
@pytest.mark.parametrize("name", SETS)
def test_members_of_a_batch_change_nothing(name: str, kind: str, backend: str) -> None:
    call, make = CALLS[name]
    # a number of rows and a width under which the third set starts at an odd place in memory
    first, *rest = make()
    inputs = (first[:45, :33], *(each[:45] for each in rest))
    batch = [_batch(each, kind) if each.ndim > 1 else each.expand(3, -1) for each in inputs]
    alone = call(*inputs, backend=backend)
    together = [field[2] for field in _tensors(call(*batch, backend=backend))]
    assert _same(tuple(together), alone)


@pytest.mark.parametrize("name", ["farthest_point", "dpp_map"])
def test_padding_changes_nothing(name: str, backend: str) -> None:
    call, make = CALLS[name]
    inputs = make()
    plain = call(*inputs, backend=backend)
    for fill in (torch.nan, 1e30, 0.0):
        wide = [torch.cat([each, torch.full_like(each, fill)[:21]]) for each in inputs]
        batch = [torch.stack([each, each.nan_to_num(0)]) for each in wide]
        picks = call(*batch, sizes=[N, N + 21], backend=backend)
        assert _same(picks[0], plain)


@pytest.mark.parametrize("name", ["farthest_point", "dpp_map", "bipartite_merge", "max_cosine", "facility_location"])
def test_a_zero_row_leaves_the_others_bits(name: str, backend: str) -> None:
    # the zero row comes last, so that no place shifts; it is compared with, and picked, by itself
    call, make = CALLS[name]
    if name == "facility_location" and backend == "triton":
        pytest.skip("torch only")
    options = {} if name == "facility_location" else {"backend": backend}
    features = make()[0]
    extended = torch.cat([features, torch.zeros(2, features.shape[1])])
    if name == "max_cosine":
        assert _same(tuple(field[:N] for field in call(extended, **options)), call(features, **options))
    elif name == "bipartite_merge":
        metric = torch.cat([make()[1], torch.zeros(2, 64)])
        merged, plain = call(extended, metric, **options), call(*make(), **options)
        assert torch.equal(merged.target[:N], plain.target)
    elif name == "dpp_map":
        quality = torch.cat([make()[1], torch.zeros(2)])
        assert _same(call(extended, quality, **options), call(*make(), **options))
    else:
        # a zero row is at right angles to all: more isolated than any
        picks = _tensors(call(extended, **options))[0].tolist()
        assert len(set(picks)) == len(picks)
