"""Which patches of a vision tower become which visual token, where nothing but the model itself says so.

The guess is the obvious one: a token is a patch; or patches and tokens both fill a grid, line by line, and m x m
patches become one token, be it by pixel shuffle (InternVL, Idefics 3), pooling (Gemma 3) or merging (Mistral 3); or
m x m neighbours in the order of the tower do. It is proved on the model: what lies between its tower and its decoder
runs again on what the tower put out, with noise added to some patches. A token changes if and only if one of its
patches has:

    all patches of half of the tokens    exactly these tokens change
    one patch of every token             all tokens do

A projector whose tokens read other patches, or all of them, fails the one; one that leaves patches out fails the other.
"""

from __future__ import annotations

import copy
import functools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from tokenpruner.models.image_layouts import Grid, Layout
from tokenpruner.models.overrides import method_wrapped

SEED = 0


@dataclass(frozen=True)
class Groups:
    """Grids of tokens, one after the other, line by line; a token is a rectangle `merge` of a larger grid's patches."""

    grids: tuple[Grid, ...]
    merge: Grid

    @classmethod
    def guesses(cls, lengths: Sequence[int], layouts: Sequence[Layout]) -> Iterator[Groups]:
        """Told by the patches of each sequence of the tower and by the images' tokens; none where they do not fit."""
        n_patches, n_tokens = sum(lengths), sum(layout.size for layout in layouts)
        side = math.isqrt(n_patches // n_tokens) if n_tokens else 0
        if not side or n_tokens * side**2 != n_patches:
            return
        if side > 1:
            grids = [view for layout in layouts for view in layout.views * layout.n_frames]
            if sum(rows * columns for rows, columns in grids) != n_tokens:
                # several pictures may count as one image
                roots = [math.isqrt(length) for length in lengths]
                fits = all(root**2 == n and not root % side for root, n in zip(roots, lengths, strict=True))
                grids = [(root // side, root // side) for root in roots] if fits else []
            if grids:
                yield cls(tuple(grids), (side, side))
        yield cls(((1, n_tokens),), (1, side**2))

    @property
    def n_merged(self) -> int:
        """How many patches become one token."""
        return self.merge[0] * self.merge[1]

    def token_of(self) -> torch.Tensor:
        """The token that each patch belongs to, int64 [patches]."""
        found, first = [], 0
        for rows, columns in self.grids:
            own = torch.arange(rows * columns).view(rows, columns) + first
            found.append(own.repeat_interleave(self.merge[0], 0).repeat_interleave(self.merge[1], 1).flatten())
            first += rows * columns
        return torch.cat(found)

    def means(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over each token's patches: [tokens, W] of `values` [patches, W]."""
        order = self.token_of().argsort(stable=True).to(values.device)
        return values[order].unflatten(0, (-1, self.n_merged)).mean(1)

    def tests(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Patches to change, bool [patches], and the tokens that have to change with them, bool [tokens]."""
        generator, token_of = torch.Generator().manual_seed(SEED), self.token_of()
        n_tokens = len(token_of) // self.n_merged
        half = torch.rand(n_tokens, generator=generator) < 0.5
        # neither all of them nor none
        half[0], half[-1] = True, n_tokens == 1
        yield half[token_of], half
        members = token_of.argsort(stable=True).view(n_tokens, -1)
        chosen = torch.randint(members.shape[1], (n_tokens, 1), generator=generator)
        marks = torch.zeros(len(token_of), dtype=torch.bool)
        marks[members.gather(1, chosen)] = True
        yield marks, torch.ones(n_tokens, dtype=torch.bool)


class Outputs(threading.local):
    """What the tower has put out in this thread, call by call, and what it puts out instead of running."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.instead: list[object] | None = None


class MarkedTower:
    """The outputs of a tower, `n_first` tokens of which are no patches, to be put out again with noise in them.

    It is the first of `modules`, from the outside in, that puts out hidden states of its patches.
    """

    def __init__(self, modules: Sequence[nn.Module], n_first: int) -> None:
        self.parts = [(module, Outputs()) for module in modules]
        self.n_first = n_first
        # that have been proved: other pictures of these sizes are no other case
        self.proved: set[Groups] = set()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While open, what the tower puts out is held until it is forgotten."""
        with ExitStack() as stack:
            for module, outputs in self.parts:
                stack.enter_context(method_wrapped(module, "forward", functools.partial(_held, outputs)))
            yield

    def forget(self) -> None:
        """Hold nothing more of this thread."""
        for _, outputs in self.parts:
            outputs.seen = []

    def groups(self, guesses: Iterator[Groups], again: Callable[[], object]) -> Groups | None:
        """Which of the `guesses` says what the features that `again` makes of the tower's output are made of."""
        return next((guess for guess in guesses if guess in self.proved or self._proves(guess, again)), None)

    @torch.no_grad()
    def _proves(self, groups: Groups, again: Callable[[], object]) -> bool:
        tests = [(torch.zeros_like(groups.token_of(), dtype=torch.bool), None), *groups.tests()]
        plain: torch.Tensor | None = None
        for marks, wanted in tests:
            outputs = self._marked_outputs(marks)
            if outputs is None:
                return False
            try:
                features = again()
            finally:
                outputs.instead = None
            tokens = _tokens(getattr(features, "pooler_output", features))
            if tokens is None or (plain is not None and tokens.shape != plain.shape):
                return False
            if plain is None or wanted is None:
                plain = tokens
            elif not torch.equal((tokens != plain).any(-1).cpu(), wanted):
                return False
        self.proved.add(groups)
        return True

    def _marked_outputs(self, marks: torch.Tensor) -> Outputs | None:
        """The outermost part that can, which now puts out what it did with noise on the patches of `marks`."""
        for _, outputs in self.parts:
            instead, rest = [], marks
            for output in outputs.seen:
                n_patches = _n_patches(output, self.n_first)
                instead.append(_marked(output, rest[:n_patches], self.n_first))
                rest = rest[n_patches:]
            if instead and not len(rest):
                outputs.instead = instead
                return outputs
        return None


def _held(outputs: Outputs, forward: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(forward)
    def held(*args: object, **kwargs: object) -> object:
        if outputs.instead is not None:
            return outputs.instead.pop(0)
        output = forward(*args, **kwargs)
        # some models write into it later
        outputs.seen.append(copy.copy(output) if isinstance(output, Mapping) else output)
        return output

    return held


def _n_patches(output: object, n_first: int) -> int:
    """How many patches there are in what a tower put out, first tokens left out; 0 where it holds none."""
    found = output if isinstance(output, torch.Tensor) else getattr(output, "last_hidden_state", None)
    if found is None and isinstance(output, tuple) and output:
        found = output[0]
    if not isinstance(found, torch.Tensor) or found.ndim not in (2, 3):
        return 0
    rows = 1 if found.ndim == 2 else len(found)
    return max(rows * (found.shape[-2] - n_first), 0)


def _marked(value: object, marks: torch.Tensor, n_first: int) -> object:
    """`value` in whose hidden states, [B, n_first + P, D] or [P, D], noise is on the patches of `marks` [B * P]."""
    if isinstance(value, torch.Tensor):
        rows = 1 if value.ndim == 2 else len(value)
        if value.ndim not in (2, 3) or rows * (value.shape[-2] - n_first) != len(marks):
            return value
        own = torch.nn.functional.pad(marks.view(rows, -1), (n_first, 0)).view(value.shape[:-1])
        noise = torch.randn(value.shape[-1], generator=torch.Generator().manual_seed(SEED)).to(value)
        return value + noise * own[..., None].to(value.device)
    if isinstance(value, tuple | list):
        return type(value)(_marked(own, marks, n_first) for own in value)
    if isinstance(value, Mapping):
        marked = copy.copy(value)
        for name, own in value.items():
            marked[name] = _marked(own, marks, n_first)  # type: ignore[index]
        return marked
    return value


def _tokens(features: object) -> torch.Tensor | None:
    """All visual tokens [T, D]."""
    parts = [features] if isinstance(features, torch.Tensor) else features
    if not isinstance(parts, list | tuple) or not all(isinstance(own, torch.Tensor) for own in parts):
        return None
    return torch.cat([own.flatten(0, -2) for own in parts])
