"""Boxes in patches and what is kept of them, by hand; and a method that is told apart from chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.lvlm.assembly import assemble
from benchmarks.lvlm.export import export
from benchmarks.lvlm.features import Standard
from benchmarks.lvlm.learner import new_learner
from benchmarks.lvlm.receipts import Receipt, chosen, receipt, row
from benchmarks.lvlm.retention.cases import Case
from benchmarks.lvlm.retention.subject import Subject
from prunekernels import budget
from tests.lvlm.conftest import recipe_in


def test_boxes_become_patches() -> None:
    # 32 patches high, 16 wide: 14 pixels of the picture are half a patch's side
    found = receipt(
        Image.new("L", (448, 896)), {"date": [[28, 0, 56, 29]], "address": [[0, 0, 1, 1], [420, 868, 448, 896]]}
    )
    assert found.grid == (32, 16)
    assert found.pixels.shape == (1, 3, 448, 224)
    assert found.fields["date"] == [{1, 17}]
    # all lines of an address, as one
    assert found.fields["address"] == [{0, 31 * 16 + 15}]


def test_shares_of_fields_by_hand() -> None:
    boxes = {"total": [frozenset({0, 1}), frozenset({8, 9})], "date": [frozenset({4, 5, 6, 7})]}
    receipts = [Receipt(torch.zeros(1), (4, 5), boxes), Receipt(torch.zeros(1), (4, 5), {"total": [frozenset({3})]})]
    kept = [frozenset({8, 9, 4}), frozenset({1, 2, 9, 19})]
    found = row(Case("stride", 0.25), kept, receipts)
    assert found is not None
    # any of the boxes of a total is enough
    assert found.total == pytest.approx(1 / 2)
    assert found.date == pytest.approx(1 / 4)
    assert found.address is None
    assert found.of_fields == pytest.approx((5 / 8 + 0) / 2)
    assert found.receipts == 2
    assert found.kept == pytest.approx((3 / 20 + 4 / 20) / 2)
    assert (found.low, found.high) == (0, pytest.approx(5 / 8))
    # what keeps more than its budget, as one does that averages patches, chooses none
    assert row(Case("pool", 0.1), kept, receipts) is None


def test_a_method_chooses_among_the_patches_of_a_receipt(tmp_path: Path, standard: Standard) -> None:
    recipe = recipe_in(tmp_path)
    export(new_learner(recipe), recipe, standard, "card")
    subject = Subject.load(assemble(recipe.model, recipe.tower, tmp_path / "whole"))
    noise = np.random.default_rng(0).integers(0, 256, (96, 64), dtype=np.uint8)
    one = receipt(Image.fromarray(noise), {"date": [[0, 0, 9, 9]]})
    n_patches = one.grid[0] * one.grid[1]
    for text in ("stride", "random", "divprune", "visionzip"):
        method = Case(text, 0.1).method()
        assert method is not None
        kept = chosen(subject, method, one)
        assert len(kept) == budget.n_keep(n_patches, 0.1)
        assert kept <= {*range(n_patches)}
