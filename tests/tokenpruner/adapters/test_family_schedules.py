"""Rows of many families with schedules of their own: a batch is its rows, with a cache and without."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import close, fed, generate, singles
from tokenpruner import prune
from tokenpruner.base.layer_flow import Flow
from tokenpruner.methods.flows import Flows

ROWS = [[2, "I", 3], [4], ["I", 2], [1, "I", 2]]
SCHEDULES = ("1:0.25", "1:skip", "full")
# windows and blocks with two kinds of rotary positions, positions of three parts, DeepStack
SOME = ["gemma3", "qwen2_5_vl", "qwen3_vl"]


@dataclass(frozen=True)
class InTurn(Flows):
    """Rows that come for the first time get the schedules in turn, and those that are known what they got."""

    known: list[torch.Tensor] = field(default_factory=list, compare=False)

    def flows(self) -> tuple[Flow, ...]:
        return tuple(map(Flow.parse, self.schedules))

    def route(self, features: torch.Tensor) -> torch.Tensor:
        places = []
        for own in features:
            near = [place for place, one in enumerate(self.known) if (one - own).abs().max() < 1e-3]
            if not near:
                near = [len(self.known)]
                self.known.append(own)
            places.append(near[0] % len(self.schedules))
        return torch.tensor(places)


@pytest.mark.parametrize("name", families.params(SOME))
def test_a_batch_is_its_rows(name):
    feed = fed(name)
    inputs, method = feed.encode(ROWS), InTurn(SCHEDULES)
    with prune(feed.model, method) as report:
        alone = torch.cat([generate(feed.model, row) for row in singles(feed, ROWS, inputs)])
        together = generate(feed.model, inputs)
        uncached = generate(feed.model, inputs, use_cache=False)
    assert len(method.known) == 3
    close(together, alone)
    close(uncached, together)
    # the row of text sees all layers, the third one skips the second layer
    seen = report.prefills[3].layers[1]
    assert [seen[row] == report.prefills[3].tokens_before[row] for row in range(4)] == [False, True, False, True]
    assert seen[2] == 0


def test_the_first_layer_with_keys_cannot_be_skipped():
    """The one before it keeps a state, and the cache counts by this one."""
    with pytest.raises(ValueError, match=r"layer 1, \w+, cannot be skipped: it is the first with keys"):
        prune(fed("qwen3_5").model, "flows:schedules=1:skip").__enter__()
