"""A batch whose rows skip layers by schedules of their own, and the router that gives each row its schedule."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.methods.flow_replay import IMAGE, rigged
from tokenpruner.base.layer_flow import Flow, row_features
from tokenpruner.methods.flows import Flows

RAGGED = [[2, "I", 3, "I", 2], ["I", 4], [5], ["I", 2]]
MIXED = ("full", "1:0.25", "1:0.5+2:skip", "2:skip")
# the images of the ragged rows go to these, the row without one computes everything
PICKS = (1, 2, None, 0)


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


def flows_of(picks, schedules=MIXED):
    return [Flow() if pick is None else Flow.parse(schedules[pick]) for pick in picks]


@pytest.fixture
def routed(model, prompt, tmp_path):
    """A method whose router gives the images of ragged rows the schedules PICKS, its file, and the rows."""
    inputs = prompt(RAGGED)
    router = rigged_for(model, inputs)
    router.save(tmp_path)
    return Flows(weights=str(tmp_path)), inputs


def rigged_for(model, inputs):
    """The router that knows the ragged rows by what it reads of them."""
    from tests.tokenpruner.conftest import split

    seen = []
    for row in split(inputs):
        if "pixel_values" in row:
            hidden = model(**row, output_hidden_states=True).hidden_states[1]
            visual = row["input_ids"] == IMAGE
            seen.append(row_features(hidden, visual, ~visual)[0])
    picks = [pick for pick in PICKS if pick is not None]
    return rigged(MIXED, len(seen[0]), dict(zip(picks, seen, strict=True)))
