"""Pooled pages: padding on either side, exact counts, protected vectors, odd rows, and what is refused."""

from __future__ import annotations

import importlib.util
from typing import get_args

import pytest
import torch

from prunekernels.pool import PoolMethod, pool
from tokenpruner import PooledPages, pool_embeddings

HAS_SCIPY = importlib.util.find_spec("scipy") is not None
METHODS = [
    pytest.param(name, marks=pytest.mark.skipif(name != "kmeans" and not HAS_SCIPY, reason="Ward linkage is scipy's"))
    for name in get_args(PoolMethod)
]
LENGTHS = (37, 9, 1, 0, 18)


def pages(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Vectors of length 1, of pages of unlike lengths."""
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.functional.normalize(torch.randn(n, 8, generator=generator), dim=1).to(dtype) for n in LENGTHS]


def padded(some: list[torch.Tensor], side: str, value: float = 0.0) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=value, padding_side=side)


def mask(side: str) -> torch.Tensor:
    return padded([torch.ones(n, dtype=torch.int64) for n in LENGTHS], side)


def same(found: PooledPages, wanted: PooledPages) -> None:
    for one, other in zip(found.vectors, wanted.vectors, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [3, 9, 25, 49])
def test_a_padded_batch_is_its_pages(method, factor):
    alone = [pool(page, factor, method) for page in pages()]
    wanted = PooledPages([own.vectors for own in alone], [own.assignment for own in alone])
    same(pool_embeddings(pages(), factor, method), wanted)
    for side in ("left", "right"):
        # what stands in padding is read by nobody where a mask tells it
        hidden = padded(pages(), side, torch.nan)
        for found in (
            pool_embeddings(padded(pages(), side), factor, method),
            pool_embeddings(hidden, factor, method, mask=mask(side)),
        ):
            same(found, wanted)
            for own, page, real in zip(alone, found.assignment, mask(side) != 0, strict=True):
                assert page.dtype == torch.int64
                assert torch.equal(page[real], own.assignment)
                assert bool((page[~real] == -1).all())


@pytest.mark.parametrize("method", METHODS)
def test_counts_are_the_published_ones(method):
    for factor in (1, 2, 3, 9, 25, 49):
        for protected in (0, 1, 4):
            found = pool_embeddings(padded(pages(), "left"), factor, method, protected=protected)
            counts = [min(protected, n) + (max((n - protected) // factor, 1) if n > protected else 0) for n in LENGTHS]
            assert [len(own) for own in found.vectors] == counts


@pytest.mark.parametrize("method", METHODS)
def test_protected_vectors_are_the_first_real_ones(method):
    found = pool_embeddings(padded(pages(), "left"), 9, method, protected=2)
    for own, page in zip(found.vectors, pages(), strict=True):
        assert torch.equal(own[:2], page[:2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_vectors_keep_their_dtype_and_length(method, dtype):
    found = pool_embeddings([page.requires_grad_() for page in pages(dtype)], 3, method)
    for own in found.vectors:
        assert own.dtype == dtype
        assert not own.requires_grad
        if method != "pylate":
            torch.testing.assert_close(own.float().norm(dim=1), torch.ones(len(own)), rtol=0, atol=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_equal_vectors(method):
    blank = pages()[0][:1].expand(30, 8)
    found = pool_embeddings([torch.cat([blank, pages()[1]])], 3, method)
    # k-means has nothing to tell equal ones apart by
    assert len(found.vectors[0]) == 13 if method != "kmeans" else 2 <= len(found.vectors[0]) <= 10
    assert pool_embeddings([blank], 9, method).vectors[0].shape[0] == (3 if method != "kmeans" else 1)


@pytest.mark.skipif(not HAS_SCIPY, reason="Ward linkage is scipy's")
def test_a_row_of_zeros_counts_where_a_mask_says_so():
    page = torch.cat([pages()[1], torch.zeros(1, 8)])
    assert len(pool_embeddings(page[None], 1).vectors[0]) == 9
    found = pool_embeddings(page[None], 1, mask=torch.ones(1, 10, dtype=torch.bool))
    assert len(found.vectors[0]) == 10
    assert bool(pool_embeddings(page[None], 3, mask=torch.ones(1, 10)).vectors[0].isfinite().all())
    assert pool_embeddings([], 3) == PooledPages([], [])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_are_named_with_their_page(bad):
    batch = padded(pages(), "left")
    batch[1, 30, 2] = bad
    for given in (batch, [*batch]):
        with pytest.raises(ValueError, match="token 30 of page 1 has NaN or infinity"):
            pool_embeddings(given, 3)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (torch.ones(3, 8), {}, r"a list of one \[L, D\] a page, got \[3, 8\]"),
        ([torch.ones(3, 8), torch.ones(8)], {}, r"page 1: want embeddings \[L, D\], got \[8\]"),
        ([[0.0]], {}, "page 0: .* got list"),
        (torch.ones(1, 3, 8), {"mask": torch.ones(1, 5)}, r"want a mask \[1, 3\], got \[1, 5\]: behind prune"),
        ([torch.ones(3, 8)], {"mask": torch.ones(1, 3)}, "no mask with a list"),
        (torch.ones(1, 3, 8), {"method": "ward"}, "method"),
        (torch.ones(1, 3, 8), {"factor": 0}, "factor"),
        (torch.ones(1, 3, 8), {"protected": -1}, "protected"),
        (torch.ones(1, 3, 8, dtype=torch.int64), {}, "floating"),
    ],
)
def test_refuses(given, options, message):
    with pytest.raises(ValueError, match=message):
        pool_embeddings(given, **{"factor": 3, **options})
