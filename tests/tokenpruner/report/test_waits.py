"""What a pass waits for on a GPU: a few numbers, as many whatever the number of images.

Told on a CPU by what would wait there: everything that makes numbers, truths or lists of a tensor's values.
"""

from __future__ import annotations

import traceback

import pytest
import torch
from torch.overrides import TorchFunctionMode

import tokenpruner
from tokenpruner import prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop

TENSOR = torch.Tensor
WAITING = {
    *(TENSOR.tolist, TENSOR.item, TENSOR.__bool__, TENSOR.__int__, TENSOR.__index__, TENSOR.__float__, TENSOR.cpu),
    *(TENSOR.nonzero, torch.nonzero, TENSOR.unique, torch.equal),
}
INDEXING = {TENSOR.__getitem__, TENSOR.__setitem__}


class Waits(TorchFunctionMode):
    """Counts what tokenpruner's own files would wait for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in WAITING or (function in INDEXING and self.is_by_mask(args[1])):
            frames = [frame.filename for frame in traceback.extract_stack()[:-1]]
            # the file that asks, not what it asks: checks that a GPU answers later are the core's
            if frames[-1].startswith(tokenpruner.__path__[0]):
                self.found.append((frames[-1], function.__name__))
        return function(*args, **(kwargs or {}))

    def is_by_mask(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        return any(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in parts)


@pytest.mark.parametrize(
    ("method", "most"), [(DivPrune(0.25), 9), (FastV(0.25, layer=1), 16), (PyramidDrop(n_stages=3), 28)]
)
def test_waits_do_not_grow_with_images(model, prompt, method, most):
    counts = []
    # in float32, for the checks of wider scores look at each image
    model = model.float()
    for n_images in (1, 7):
        inputs = prompt([["I", 2] * n_images])
        inputs["pixel_values"] = inputs["pixel_values"].float()
        with torch.no_grad(), prune(model, method), Waits() as waits:
            model(**inputs)
        counts.append(len(waits.found))
    assert counts[0] == counts[1] <= most
