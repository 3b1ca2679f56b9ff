"""What is compared, for any family: generations by step, and the pruned sequence cut by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import nn

from tests.tokenpruner.adapters import families, known_families
from tests.tokenpruner.adapters.family_inputs import Feed, Tensors
from tokenpruner import Method, prune
from tokenpruner.models import adapter
from tokenpruner.models.adapter import config_number
from tokenpruner.models.transformers_api import CACHE_ARGUMENTS

GREEDY = {"do_sample": False, "max_new_tokens": 3, "return_dict_in_generate": True, "output_logits": True}
RAGGED: list[Sequence[int | str]] = [[2, "I", 3], [4], ["I", 2, "I", 1]]
# float32, logits of size about 1
CLOSE = {"rtol": 0, "atol": 2e-4}


def fed(name: str) -> Feed:
    """The family's tiny model; skips with the reason where there is none, and where it is refused."""
    feed = families.feed(name)
    if isinstance(feed, str):
        pytest.skip(feed)
    return feed


def generate(model: nn.Module, inputs: Tensors, **kind: object) -> torch.Tensor:
    """Logits of every step, [rows, steps, vocabulary]."""
    torch.manual_seed(0)
    return torch.stack(model.generate(**copy.copy(inputs), **(GREEDY | kind)).logits, 1)


def unless_odd(name: str, promise: str, check: Callable[[], None]) -> None:
    """Skips where the model does not keep the promise without pruning.

    For families that are known, `ODD` says so, on a transformers that has all of them.
    """
    reason = known_families.ODD.get(name, {}).get(promise)
    is_newest = {*known_families.FED} <= {*families.names()}
    if name in known_families.FED and reason is None and is_newest:
        return
    try:
        check()
    # whatever a model says when it is asked for what it cannot do
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"not without pruning either: {reason or type(error).__name__}")
    assert reason is None or not is_newest, f"{name} keeps the promise without pruning: take it out of ODD"


def close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal but for rounding."""
    torch.testing.assert_close(got, wanted, **CLOSE)


def singles(feed: Feed, rows: Sequence[Sequence[int | str]], inputs: Tensors) -> list[Tensors]:
    """The rows of a batch, each alone and without padding."""
    found = []
    for number, row in enumerate(rows):
        ids = inputs["input_ids"][number][inputs["attention_mask"][number].bool()][None]
        alone: Tensors = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "I" in row:
            alone |= feed.only(inputs, rows, number)
        found.append(alone | feed.types(alone))
    return found


class Spy:
    """What entered the backbone of a model, and what came out."""

    def __init__(self, model: nn.Module) -> None:
        self.backbone = adapter.find(model).backbone
        self.kwargs: dict[str, object] = {}
        self.hidden = torch.empty(0)

    def __enter__(self) -> Spy:
        # behind the hooks of prune: what they leave is what the backbone gets
        self.handles = [self.backbone.register_forward_hook(self.note, with_kwargs=True)]
        return self

    def note(self, module: nn.Module, args: object, kwargs: dict[str, object], output: object) -> None:
        """Called after the backbone."""
        self.kwargs, self.hidden = dict(kwargs), output.last_hidden_state

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


@torch.no_grad()
def by_hand(
    feed: Feed, inputs: Tensors, methods: Sequence[Method], visual: torch.Tensor | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Hidden states of one row's pruned sequence as `prune` has them, and run by hand; one pair a method.

    `visual` are the columns of its visual tokens, by default those of images.
    """
    model = feed.model
    with Spy(model) as plain:
        model(**inputs, use_cache=False)
    visual = (inputs["input_ids"][0] == feed.token).nonzero().flatten() if visual is None else visual
    window = config_number(plain.backbone.config, "sliding_window") or 10**9
    for method in methods:
        with Spy(model) as spied, prune(model, method) as report:
            model(**inputs, use_cache=False)
        kept = torch.ones(inputs["input_ids"].shape[1], dtype=torch.bool)
        for image in report.images:
            own = torch.tensor(image.columns)
            assert len(own) == image.size
            assert set(image.columns) <= {*visual.tolist()}
            kept[own] = False
            kept[own[list(image.kept)]] = True
        assert int(kept.sum()) < len(kept)
        made = cut(plain.kwargs, kept, visual, window)
        where = plain.kwargs.get("position_ids")
        if "positions=compact" in report.method:
            # numbered anew from where the model begins
            n_kept = made["position_ids"].shape[-1]
            made["position_ids"] = torch.arange(n_kept)[None] if where is None else where[..., :n_kept]
        yield spied.hidden, plain.backbone(**made).last_hidden_state


def cut(kwargs: dict[str, object], kept: torch.Tensor, visual: torch.Tensor, window: int) -> dict[str, object]:
    """The backbone's arguments for the `kept` tokens [L] of one row, told by shape and not by name."""
    length, columns = len(kept), kept.nonzero().flatten()

    def taken(value: object) -> object:
        if isinstance(value, dict):
            return {name: taken(entry) for name, entry in value.items()}
        if isinstance(value, list | tuple) and value and all(isinstance(x, torch.Tensor) for x in value):
            return [plane[kept[visual]] for plane in value]
        if isinstance(value, torch.Tensor):
            for dimension in range(value.ndim):
                if value.shape[dimension] == length:
                    value = value.index_select(dimension, columns)
        return value

    made = {name: taken(value) for name, value in kwargs.items() if name not in CACHE_ARGUMENTS}
    mask = made.get("attention_mask")
    if isinstance(mask, dict) and mask["full_attention"] is None:
        made["attention_mask"] = torch.ones(1, len(columns), dtype=torch.int64)
    elif isinstance(mask, dict) and "sliding_attention" in mask:
        # a window of kept tokens; further away, what the model's own mask lets an image's tokens see
        places = torch.arange(len(columns))
        near = places[:, None] - places < window
        mask["sliding_attention"] = mask["full_attention"] & (near | mask["sliding_attention"])
    n_kept = len(columns)
    where = made.get("position_ids")
    made["position_ids"] = columns[None] if where is None else where
    if not isinstance(made.get("attention_mask"), dict) and getattr(made.get("attention_mask"), "ndim", 2) == 2:
        # not inferred from positions, in which a gap would pass for the start of another sequence
        made["attention_mask"] = torch.ones(1, n_kept, dtype=torch.int64)
    return made | {"use_cache": False}
