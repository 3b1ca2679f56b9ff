"""Budgets, worked by hand: by ratio, by count, by a total over a row."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from prunekernels import spec
from tokenpruner import Method, prepare, prune
from tokenpruner.base.token_budget import Budget
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride


def test_counts_by_hand():
    assert Budget(keep_ratio=0.25).counts([16, 9, 1]) == [4, 3, 1]
    assert Budget(n_keep=4).counts([16, 9, 3]) == [4, 4, 3]
    # 12 shared out as 16 : 8 : 24
    assert Budget(n_keep_row=12).counts([16, 8, 24]) == [4, 2, 6]
    # at least 3 of each: all of the second one that has a single token
    assert Budget(n_keep_row=12, n_keep_least=3).counts([24, 1, 26]) == [5, 1, 6]
    # the share of the second, 12 * 4 / 52, is raised to 3; the others pay alike
    assert Budget(n_keep_row=12, n_keep_least=3).counts([24, 4, 24]) == [5, 3, 4]
    assert Budget(n_keep_row=100).counts([16, 8]) == [16, 8]
    assert Budget(n_keep_row=3, n_keep_least=0).counts([100, 1, 1]) == [3, 0, 0]
    assert Budget(n_keep_row=7).counts([]) == []


@dataclasses.dataclass(frozen=True)
class Whole(Method):
    """A method that keeps everything unless it is told otherwise."""

    keep_ratio: float = 1.0


def test_only_a_ratio_of_one_keeps_everything():
    assert Whole().keeps_all
    assert not Whole(n_keep=3).keeps_all
    assert not Whole(n_keep_row=3).keeps_all
    assert Budget(keep_ratio=1.0).keeps_all
    assert not any(made.keeps_all for made in (Budget(), Budget(n_keep=9999), Budget(n_keep_row=9999)))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"n_keep": 0}, "want n_keep as a whole number of at least 1, got 0"),
        ({"n_keep": -3}, "want n_keep as a whole number of at least 1, got -3"),
        ({"n_keep": 2.0}, "want n_keep as a whole number of at least 1, got 2.0"),
        ({"n_keep": True}, "want n_keep as a whole number of at least 1, got True"),
        ({"n_keep_row": 0}, "want n_keep_row as a whole number of at least 1, got 0"),
        ({"n_keep_row": 9, "n_keep_least": -1}, "want n_keep_least as a whole number of at least 0, got -1"),
        (
            {"n_keep": 4, "n_keep_row": 9},
            "want one of keep_ratio, n_keep and n_keep_row, got n_keep=4 and n_keep_row=9",
        ),
        ({"keep_ratio": 0.3, "n_keep": 4}, "got keep_ratio=0.3 and n_keep=4"),
        ({"keep_ratio": 1.0, "n_keep_row": 4}, "got keep_ratio=1.0 and n_keep_row=4"),
        ({"n_keep_least": 4}, "n_keep_least goes with n_keep_row, got n_keep_least=4 without it"),
        ({"n_keep_row": 3, "n_keep_least": 4}, "want n_keep_row of at least n_keep_least=4, got 3"),
    ],
)
def test_what_says_nothing_or_two_things_is_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        DivPrune(**fields)


def test_the_text_form():
    text = "divprune:n_keep_row=640,n_keep_least=8"
    made = spec.build("tokenpruner.methods", text, Method)
    assert made == DivPrune(n_keep_row=640, n_keep_least=8)
    assert spec.describe(made) == text
    assert spec.describe(DivPrune(n_keep=64)) == "divprune:n_keep=64"
    with pytest.raises(ValueError, match="divprune.n_keep wants int or NoneType, got 'many'"):
        spec.build("tokenpruner.methods", "divprune:n_keep=many", Method)


# norms and rotations are float32 in a model of float64
CLOSE = {"rtol": 0, "atol": 2e-5}
ROWS = [[2, "I", 3], [4], ["I", "I", 1], [1, "I", "I", "I"]]


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        (Stride(n_keep=5), [5, 5, 5, 5, 5, 5]),
        (Stride(n_keep=99), [16] * 6),
        (Stride(n_keep_row=10), [10, 5, 5, 4, 3, 3]),
        (Random(n_keep_row=20), [16, 10, 10, 7, 7, 6]),
        (DivPrune(n_keep_row=3, n_keep_least=0), [3, 2, 1, 1, 1, 1]),
    ],
)
def test_a_row_has_its_own_budget(model, prompt, singles, by_hand, method, kept):
    inputs = prompt(ROWS)
    with torch.no_grad(), prune(model, method) as report:
        output = model(**inputs)
    assert [len(image.kept) for image in report.images] == kept
    # batch mates change nothing
    for row, alone in enumerate(singles(inputs)):
        with torch.no_grad(), prune(model, method) as own:
            wanted = model(**alone).logits[0]
        assert [image.kept for image in own.images] == [image.kept for image in report.images if image.row == row]
        torch.testing.assert_close(output.logits[row, -len(wanted) :], wanted, **CLOSE)


def test_an_image_may_go_altogether(model, prompt):
    inputs = prompt([["I", 2, "I", 3]])
    with torch.no_grad(), prune(model, Stride(n_keep_row=1, n_keep_least=0)) as report:
        logits = model(**inputs).logits
    assert [image.kept for image in report.images] == [(10,), ()]
    assert logits.shape[1] == 6


def test_a_total_that_is_too_small_changes_nothing(watched, prompt):
    model, inputs, check = watched
    wanted = "row 0 has 3 images or frames: want n_keep_row of at least 24, 8 of each, got 20"
    many = prompt([["I", 1, "I", "I", 2]])
    with prune(model, Stride(n_keep_row=20, n_keep_least=8)), pytest.raises(ValueError, match=wanted):
        model(**many)
    check()
    with pytest.raises(ValueError, match=wanted):
        prepare(model, Stride(n_keep_row=20, n_keep_least=8), **many)
    check()


def test_both_forms_keep_the_same(model, prompt):
    inputs, method = prompt(ROWS[:3]), Stride(n_keep_row=12)
    with torch.no_grad():
        with prune(model, method):
            wanted = model(**inputs).logits[:, -1]
        torch.testing.assert_close(model(**prepare(model, method, **inputs)).logits[:, -1], wanted, **CLOSE)
