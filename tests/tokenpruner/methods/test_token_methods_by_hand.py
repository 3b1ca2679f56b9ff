"""The methods and their base, worked by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tokenpruner import Context, Method, prune
from tokenpruner.methods._even_cells import centres
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride


def context(n, grid=None, image=0, width=8):
    generator = torch.Generator().manual_seed(n)
    return Context(torch.randn(n, width, generator=generator), grid, image=image)


def test_divprune_by_hand():
    # the last stands alone and is first; the middle one is farther from it than its twin's neighbours
    visual = torch.tensor([[1.0, 0.0], [0.99, 0.1], [0.9, 0.2], [-1.0, 0.1], [0.0, 1.0]])
    assert DivPrune(keep_ratio=0.4).select(Context(visual)).tolist() == [0, 3]
    assert DivPrune(keep_ratio=0.6).select(Context(visual)).tolist() == [0, 3, 4]


def test_divprune_agrees_with_the_definition():
    """The literal loop of the paper, in float64: all distances to all picks, anew in every step."""
    visual = context(40, width=6).visual
    unit = torch.nn.functional.normalize(visual.double(), dim=1)
    distance = 1 - unit @ unit.T
    nearest = distance.clone().fill_diagonal_(torch.inf).amin(1)
    picks = [int(nearest.argmax())]
    while len(picks) < 10:
        away = distance[picks].amin(0)
        away[picks] = -torch.inf
        picks.append(int(away.argmax()))
    assert DivPrune(keep_ratio=0.25).select(Context(visual)).tolist() == sorted(picks)


def test_stride_by_hand():
    assert Stride(keep_ratio=0.25).select(context(16, (4, 4))).tolist() == [5, 7, 13, 15]
    # three lines of 2, 2 and 3 in a grid of 4 x 4
    assert Stride(keep_ratio=7 / 16).select(context(16, (4, 4))).tolist() == [1, 3, 9, 11, 12, 14, 15]
    # along the sequence without a grid: middles of four stretches of 2.5
    assert Stride(keep_ratio=0.4).select(context(10)).tolist() == [1, 3, 6, 8]
    # one line or one column
    assert Stride(keep_ratio=0.5).select(context(6, (1, 6))).tolist() == [1, 3, 5]
    assert Stride(keep_ratio=0.5).select(context(6, (6, 1))).tolist() == [1, 3, 5]
    assert centres(0, 5).tolist() == []


def test_stride_spreads_over_lines_and_columns():
    """A step of four along the sequence would hit six columns of 24, all lines alike."""
    picks = Stride(keep_ratio=0.25).select(context(576, (24, 24)))
    assert len(picks) == 144
    assert len((picks // 24).unique()) == len((picks % 24).unique()) == 12


@pytest.mark.parametrize("height", range(1, 9))
@pytest.mark.parametrize("width", range(1, 9))
def test_stride_is_exact_for_every_count(height, width):
    size = height * width
    for n in range(1, size + 1):
        picks = Stride().keep(context(size, (height, width)), n)
        assert picks.shape == (n,)
        assert bool((picks.diff() > 0).all())
        assert 0 <= int(picks[0]) <= int(picks[-1]) < size


def test_random_hangs_on_seed_and_image():
    picks = [Random(keep_ratio=0.5, seed=seed).select(context(32, image=image)) for seed in (0, 1) for image in (0, 1)]
    assert len({tuple(own.tolist()) for own in picks}) == 4


def test_random_is_uniform():
    counts = sum(torch.bincount(Random(0.25, seed=s).select(context(16)), minlength=16) for s in range(2000))
    # 2000 draws with probability 1/4: standard deviation 19
    assert (counts - 500).abs().max() < 5 * 19.4


@dataclasses.dataclass(frozen=True)
class Wrong(Method):
    """Returns whatever it is told."""

    picks: tuple[float, ...] = ()
    scores: int = 0

    def keep(self, context: Context, n: int) -> torch.Tensor:
        return torch.tensor(self.picks, dtype=torch.int64) if self.picks else super().keep(context, n)

    def importance(self, context: Context) -> torch.Tensor:
        return torch.zeros(self.scores)


@pytest.mark.parametrize("picks", [(1, 1), (2, 1), (0,), (0, 1, 2), (-1, 2), (0, 4)])
def test_wrong_picks_are_refused(picks):
    with pytest.raises(ValueError, match="Wrong: want 2 distinct ascending int64 indices below 4"):
        Wrong(picks=picks).select(context(4))


def test_wrong_scores_are_refused():
    with pytest.raises(ValueError, match=r"Wrong: want importance float32 \[4\], got torch.float32 \[3\]"):
        Wrong(scores=3).select(context(4))
    assert Wrong(scores=4).select(context(4)).tolist() == [0, 1]


def test_an_empty_method_says_so():
    with pytest.raises(NotImplementedError, match="Method writes neither importance nor keep"):
        Method().select(context(4))


@dataclasses.dataclass(frozen=True)
class LikeText(Method):
    """Keeps what is close to the text."""

    needs = frozenset({"visual", "text"})

    def importance(self, context: Context) -> torch.Tensor:
        assert context.text is not None
        return context.visual @ context.text.mean(0)


def test_text_is_given_to_methods_that_ask(model, prompt):
    seen = []

    class Spy(LikeText):
        def importance(self, context: Context) -> torch.Tensor:
            seen.append(context)
            return super().importance(context)

    inputs = prompt([[2, "I", 3], ["I", 1, "I"]])
    with torch.no_grad(), prune(model, Spy()):
        model(**inputs)
    table = model.get_input_embeddings()
    assert [own.text.shape for own in seen] == [(5, 32), (1, 32), (1, 32)]
    text = inputs["input_ids"][0][inputs["input_ids"][0] > 5]
    assert torch.equal(seen[0].text, table(text))
    with pytest.raises(ValueError, match="want text embeddings for image 0 of row 0, got none"):
        LikeText().select(context(4))
