"""Which columns hold which image, worked by hand."""

from __future__ import annotations

import pytest
import torch

from tokenpruner.models import image_tokens
from tokenpruner.models.image_layouts import Layout


def mask_of(*rows):
    return torch.tensor([[letter == "1" for letter in row] for row in rows])


def found(visual, sizes=None):
    layouts = None if sizes is None else [Layout(size) for size in sizes]
    return [(image.row, image.number, image.columns.tolist()) for image in image_tokens.find(visual, layouts)]


def test_images_by_size():
    visual = mask_of("0111110", "1100111")
    assert found(visual, [2, 3, 2, 3]) == [(0, 0, [1, 2]), (0, 1, [3, 4, 5]), (1, 0, [0, 1]), (1, 1, [4, 5, 6])]


def test_an_image_may_be_interrupted():
    assert found(mask_of("110110"), [4]) == [(0, 0, [0, 1, 3, 4])]


def test_images_by_runs():
    assert found(mask_of("011", "100", "000", "101")) == [
        (0, 0, [1, 2]),
        (1, 0, [0]),
        (3, 0, [0]),
        (3, 1, [2]),
    ]
    assert found(mask_of("000")) == []


def test_images_that_do_not_fit():
    with pytest.raises(ValueError, match="got 3 and 2"):
        image_tokens.find(mask_of("0111"), [Layout(2)])
    with pytest.raises(ValueError, match="runs from row 0 into the next"):
        image_tokens.find(mask_of("011", "100"), [Layout(3)])
    with pytest.raises(ValueError, match="want the visual tokens as bool"):
        image_tokens.find(torch.ones(2, 3))
