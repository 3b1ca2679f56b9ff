"""DART: by its definition, in exact counts, and inside a model."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.conftest import build, encode
from tokenpruner import prune
from tokenpruner.base.inside_decoder import LayerContext, Stage
from tokenpruner.methods.dart import Dart
from tokenpruner.models.attention import Attention


def context(n=20, n_text=6, seed=0):
    """Three tokens of text in front of the image, the others behind it."""
    generator = torch.Generator().manual_seed(seed)
    length = n + n_text
    hidden = torch.randn(length, 8, generator=generator)
    q, k = torch.randn(2, 4, length, 8, generator=generator).unbind()
    columns = torch.arange(3, 3 + n)
    text = torch.tensor([0, 1, 2, *range(3 + n, length)])
    return LayerContext(
        hidden[columns], torch.arange(n), n, Stage(2, 0.5, 1), columns, text, Attention(q, k[:2], 8**-0.5),
        text_hidden=hidden[text],
    )  # fmt: skip


def by_definition(given, n, image_pivots, text_pivots):
    norms = given.attention.k.abs().sum((0, 2))

    def largest(places, count):
        return sorted(range(len(places)), key=lambda own: (-float(norms[places[own]]), own))[:count]

    kept = largest(given.columns, min(image_pivots, n))
    pivots = [given.hidden[own] for own in kept] + [given.text_hidden[own] for own in largest(given.text, text_pivots)]
    left = n - len(kept)
    for number, pivot in enumerate(pivots):
        share = left // len(pivots) + (number < left % len(pivots))
        like = torch.cosine_similarity(given.hidden.double(), pivot.double()[None], dim=1)
        order = sorted(
            (own for own in range(given.n_tokens) if own not in kept), key=lambda own: (float(like[own]), own)
        )
        kept = kept + order[:share]
    return sorted(kept)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 11, 12, 13, 19])
@pytest.mark.parametrize(("image_pivots", "text_pivots"), [(4, 4), (1, 0), (2, 9)])
def test_picks_are_those_of_the_definition(n, image_pivots, text_pivots):
    given = context()
    method = Dart(image_pivots=image_pivots, text_pivots=text_pivots)
    assert method.keep(given, n).tolist() == by_definition(given, n, image_pivots, text_pivots)


def test_shares_that_do_not_divide_add_up():
    """Published: each pivot's share is rounded down, so that 11 of 20 with eight pivots are 4."""
    assert len(Dart().keep(context(), 11)) == 11


def test_duplicates_of_a_pivot_leave_first():
    given = context(n=12, n_text=3)
    # two groups of duplicates; the pivot is of the first, which leaves but for it
    hidden = torch.cat([given.hidden[:1].expand(6, 8), -given.hidden[:1] + 0.1 * given.hidden[6:]])
    keys = given.attention.k.clone()
    keys[:, 3] = 9
    given = LayerContext(
        hidden, given.kept, 12, given.stage, given.columns, given.text, Attention(given.attention.q, keys, 1.0)
    )
    assert Dart(image_pivots=1, text_pivots=0).keep(given, 7).tolist() == [0, *range(6, 12)]


def test_each_image_of_a_batch_is_judged_by_its_row():
    model, inputs = build(), encode([[2, "I", 3], [6, "I", 2]])
    method = Dart(n_keep=7, layer=1)
    with torch.no_grad(), prune(model, method) as report:
        model(**inputs)
        for row in range(2):
            own = inputs["attention_mask"][row].bool()
            model(input_ids=inputs["input_ids"][row : row + 1, own], pixel_values=inputs["pixel_values"][row : row + 1])
    batch, *alone = report.prefills
    assert [len(image.kept) for image in batch.images] == [7, 7]
    assert [image.kept for image in batch.images] == [one.images[0].kept for one in alone]


@pytest.mark.parametrize("wrong", [{"image_pivots": 0}, {"text_pivots": -1}])
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(ValueError, match="dart wants image_pivots"):
        Dart(**wrong)
