"""What every method before the vision tower promises; a new file in tokenpruner/methods is enrolled by being there."""

from __future__ import annotations

import dataclasses
import importlib
import math

import pytest
import torch

from prunekernels import registry, spec
from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.token_method import TokenMethod

PACKAGE = "tokenpruner.methods"
NAMES = [name for name in registry.names(PACKAGE) if issubclass(registry.load(PACKAGE, name, TokenMethod), PixelMethod)]
GRIDS = [(1, 1), (1, 7), (5, 1), (4, 4), (6, 11), (24, 24)]


def load(name: str) -> type[PixelMethod]:
    return registry.load(PACKAGE, name, PixelMethod)


def make_cells(grid: tuple[int, int], kind: str = "normal", frames: int = 2) -> torch.Tensor:
    """Frames of cells of twelve numbers each."""
    generator = torch.Generator().manual_seed(sum(grid))
    cells = torch.randn(frames, *grid, 12, generator=generator)
    if kind == "equal":
        cells = cells[:, :1, :1].expand_as(cells).contiguous()
    elif kind == "stripes":
        cells = cells[:, :, :1].expand_as(cells).contiguous()
    elif kind == "few":
        cells = (cells[..., :1] > 0).float().expand_as(cells).contiguous()
    elif kind == "nan":
        cells[0, -1, -1, 3] = math.nan
    return cells


def test_there_are_some() -> None:
    assert {"downsample", "pixel_duplicates"} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_dataclass_with_defaults(name: str) -> None:
    kind = load(name)
    assert dataclasses.is_dataclass(kind)
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    assert not kind().keeps_all
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().positions = "keep"  # type: ignore[misc]
    for positions in ("anywhere", "calibrated"):
        with pytest.raises(ValueError, match="want positions"):
            kind(positions=positions)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_does(name: str) -> None:
    text = importlib.import_module(f"{PACKAGE}.{name}").__doc__ or ""
    assert len(text.split()) >= 15, "the module's docstring names the paper or the rule"
    assert load(name).__doc__


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", ["normal", "equal", "stripes", "few", "nan"])
def test_what_it_leaves_fits_the_picture(name: str, grid: tuple[int, int], kind: str) -> None:
    method, cells = load(name)(), make_cells(grid, kind)
    before, state = cells.clone(), torch.get_rng_state()
    if method.resizes:
        assert method.checked_resized(grid) == method.checked_resized(grid)
    else:
        found = method.checked_sources(cells)
        assert torch.equal(found, method.checked_sources(cells))
        # frames hang on themselves alone
        assert torch.equal(found[:1], method.checked_sources(cells[:1]))
        assert torch.equal(found[1:], method.checked_sources(cells[1:]))
    assert torch.equal(cells.nan_to_num(), before.nan_to_num())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_takes_every_dtype(name: str, dtype: torch.dtype) -> None:
    method = load(name)()
    if not method.resizes:
        assert method.checked_sources(make_cells((4, 5), "few").to(dtype)).shape == (2, 20)


@pytest.mark.parametrize("name", NAMES)
def test_its_text_form_comes_back(name: str) -> None:
    kind = load(name)
    for method in (kind(), kind(positions="keep"), kind(0.5)):
        text = spec.describe(method)
        assert text.partition(":")[0] == name
        assert spec.build(PACKAGE, text, TokenMethod) == method


@dataclasses.dataclass(frozen=True)
class Says(PixelMethod):
    """Says what it is told."""

    what: object = None

    def sources(self, cells: torch.Tensor) -> torch.Tensor:
        return self.what  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class Sized(PixelMethod):
    """Says what it is told."""

    what: object = None

    def resized(self, grid: tuple[int, int]) -> tuple[int, int]:
        return self.what  # type: ignore[return-value]


WRONG = {
    "none": None,
    "floats": torch.zeros(1, 2, 2),
    "another shape": torch.zeros(1, 4, dtype=torch.int64),
    "beyond": torch.tensor([[[0, 1], [2, 4]]]),
    "negative": torch.tensor([[[0, -1], [0, 0]]]),
    "a cell that has gone itself": torch.tensor([[[0, 0], [1, 3]]]),
}


@pytest.mark.parametrize("says", WRONG)
def test_wrong_sources_are_refused(says: str) -> None:
    with pytest.raises(ValueError, match=r"^Says: want sources int64 \[1, 2, 2\]"):
        Says(WRONG[says]).checked_sources(torch.zeros(1, 2, 2, 3))


@pytest.mark.parametrize("says", [None, 3, (2,), (0, 1), (3, 2), (1.0, 1), (True, 1)], ids=str)
def test_wrong_sizes_are_refused(says: object) -> None:
    with pytest.raises(ValueError, match=r"^Sized: want rows and columns from 1 to \(2, 2\)"):
        Sized(says).checked_resized((2, 2))


def test_one_that_writes_nothing_says_so() -> None:
    with pytest.raises(NotImplementedError, match="writes neither resized nor sources"):
        PixelMethod().sources(torch.zeros(1, 2, 2, 3))
