"""Which patches of a vision tower become which visual token, where a projector takes several of them together.

The guess is the obvious one: patches and tokens both fill squares, line by line, and g x g patches become one token, be
it by pixel shuffle (InternVL, Idefics 3), pooling (Gemma 3) or convolution. It is proved on the model itself: what lies
between its tower and its decoder runs again on what the tower put out, some patches of which are NaN. A token is NaN
then if and only if one of its patches is:

    all patches of half of the tokens are    exactly these tokens are
    one patch of every token is              all tokens are

A projector whose tokens read other patches, or all of them, fails the one; one that leaves patches out fails the other.
"""

from __future__ import annotations

import copy
import functools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from tokenpruner.models.overrides import method_wrapped

SEED = 0


@dataclass(frozen=True)
class Squares:
    """In each of `n` sequences `side` x `side` tokens, each of them `merge` x `merge` patches."""

    n: int
    side: int
    merge: int

    @classmethod
    def of(cls, lengths: Sequence[int], n_tokens: int) -> Squares | None:
        """Told by the patches of each sequence and the tokens of all; None where they are no such squares."""
        n = len(lengths)
        if len({*lengths}) != 1 or n_tokens % n:
            return None
        patches, side = math.isqrt(lengths[0]), math.isqrt(n_tokens // n)
        if not side or patches**2 != lengths[0] or side**2 * n != n_tokens or patches % side:
            return None
        return cls(n, side, patches // side)

    def means(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over each token's patches: [tokens, W] of `values` [patches, W] of all sequences."""
        shape = (self.n, self.side, self.merge, self.side, self.merge)
        return values.unflatten(0, shape).mean((2, 4)).flatten(0, 2)

    def spread(self, marks: torch.Tensor) -> torch.Tensor:
        """The patches [P] of the tokens that are marked, bool [side, side]."""
        return marks.repeat_interleave(self.merge, 0).repeat_interleave(self.merge, 1).flatten()

    def tests(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Patches to mark in each sequence, bool [P], and the tokens that have to be marked by it, bool [side^2]."""
        generator = torch.Generator().manual_seed(SEED)
        half = torch.rand(self.side, self.side, generator=generator) < 0.5
        # one token alone is marked in turns
        half.view(-1)[0], half.view(-1)[-1] = True, False
        yield self.spread(half), half.flatten()
        place = torch.randint(self.merge**2, (self.side, self.side), generator=generator)
        rows, columns = place // self.merge, place % self.merge
        grid = torch.zeros(self.side, self.merge, self.side, self.merge, dtype=torch.bool)
        number = torch.arange(self.side)
        grid[number[:, None], rows, number, columns] = True
        yield grid.flatten(), torch.ones(self.side**2, dtype=torch.bool)


class Outputs(threading.local):
    """What the tower has put out in this thread, call by call, and what it puts out instead of running."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.instead: list[object] | None = None


class MarkedTower:
    """The output of `tower`, `n_first` tokens of which are no patches, to be put out again with marks in it."""

    def __init__(self, tower: nn.Module, n_first: int) -> None:
        self.tower, self.n_first, self.outputs = tower, n_first, Outputs()
        # that have been proved: another picture of that size is no other case
        self.proved: set[Squares] = set()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While open, what the tower puts out is held until it is forgotten."""
        with method_wrapped(self.tower, "forward", self._held):
            yield

    def forget(self) -> None:
        """Hold nothing more of this thread."""
        self.outputs.seen = []

    def _held(self, forward: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(forward)
        def held(*args: object, **kwargs: object) -> object:
            if self.outputs.instead is not None:
                return self.outputs.instead.pop(0)
            output = forward(*args, **kwargs)
            self.outputs.seen.append(output)
            return output

        return held

    @torch.no_grad()
    def proves(self, squares: Squares, again: Callable[[], object]) -> bool:
        """Whether the tokens of the features that `again` makes of the tower's output are these squares of patches."""
        key = Squares(1, squares.side, squares.merge)
        if key in self.proved:
            return True
        for marks, wanted in squares.tests():
            self.outputs.instead = [self._marked(output, marks) for output in self.outputs.seen]
            try:
                features = again()
            finally:
                self.outputs.instead = None
            tokens = _tokens(getattr(features, "pooler_output", features))
            if tokens is None or len(tokens) != squares.n * len(wanted):
                return False
            got = tokens.isnan().any(-1).view(squares.n, -1)
            if not torch.equal(got, wanted.to(got.device).expand_as(got)):
                return False
        self.proved.add(key)
        return True

    def _marked(self, value: object, marks: torch.Tensor) -> object:
        """`value` in whose hidden states [B, n_first + P, D] the patches of `marks` [P] are NaN."""
        if isinstance(value, torch.Tensor):
            if value.ndim != 3 or value.shape[1] != self.n_first + len(marks):
                return value
            own = torch.cat([marks.new_zeros(self.n_first), marks]).to(value.device)
            return value.masked_fill(own[:, None], torch.nan)
        if isinstance(value, tuple | list):
            return type(value)(self._marked(own, marks) for own in value)
        if isinstance(value, Mapping):
            marked = copy.copy(value)
            for name, own in value.items():
                marked[name] = self._marked(own, marks)  # type: ignore[index]
            return marked
        return value


def _tokens(features: object) -> torch.Tensor | None:
    """All visual tokens [T, D]."""
    parts = [features] if isinstance(features, torch.Tensor) else features
    if not isinstance(parts, list | tuple) or not all(isinstance(own, torch.Tensor) for own in parts):
        return None
    return torch.cat([own.flatten(0, -2) for own in parts])
