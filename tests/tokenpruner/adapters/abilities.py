"""What can be done with a family: tried on its tiny model, told as "yes" or "-"."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.tokenpruner.adapters.family_inputs import Feed
from tokenpruner import TokenMethod, prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop

GREEDY = {"do_sample": False, "max_new_tokens": 2}
STATIC = {"cache_implementation": "static", "disable_compile": True}


def pruned(*methods: TokenMethod) -> Callable[[Feed], None]:
    """Tries one method after another, until one is not refused."""

    def run(feed: Feed) -> None:
        for number, method in enumerate(methods):
            try:
                with prune(feed.model, method) as report:
                    feed.model.generate(**feed.encode([[2, "I", 3]]), **GREEDY)
                assert report.visual_after < report.visual_before
                return
            except ValueError:
                if number == len(methods) - 1:
                    raise

    return run


def prepared(**kind: object) -> Callable[[Feed], None]:
    """Tries generate() on what prepare() hands over."""

    def run(feed: Feed) -> None:
        feed.model.generate(**prepare(feed.model, DivPrune(0.25), **feed.encode([[2, "I", 3]])), **GREEDY, **kind)

    return run


# a cut before a layer that reads an earlier one, or the layer itself where that has no attention to read
INSIDE = (FastV(0.25, layer=1), PyramidDrop(0.25, n_stages=2))
ABILITIES: dict[str, Callable[[Feed], None]] = {
    "before": pruned(DivPrune(0.25)),
    "inside": pruned(*INSIDE),
    "skip": pruned(FastV(0.25, layer=1, mode="skip"), PyramidDrop(0.25, n_stages=2, mode="skip")),
    "compact": pruned(DivPrune(0.25, positions="compact")),
    "prepare": prepared(),
    "static cache": prepared(**STATIC),
}


@torch.no_grad()
def measured(feed: Feed) -> dict[str, str]:
    """For each of `ABILITIES` whether this family has it."""
    found = {}
    for name, run in ABILITIES.items():
        try:
            run(feed)
            found[name] = "yes"
        # what a model says where it cannot do a thing is its own
        except Exception:  # noqa: BLE001
            found[name] = "-"
    return found
