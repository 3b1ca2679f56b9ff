"""SparseVLM: by its definition, in exact counts, and what its published code does wrong."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from tokenpruner.base.inside_decoder import LayerContext, Stage
from tokenpruner.methods._density_peaks import density_peaks
from tokenpruner.methods.sparsevlm import SparseVLM
from tokenpruner.models.attention import Attention

FRONT = 2


def context(n=40, n_text=5, seed=0, dim=8):
    """Two tokens of text in front of the image, `n_text` behind it."""
    generator = torch.Generator().manual_seed(seed)
    length = FRONT + n + n_text
    hidden, embeds = torch.randn(2, length, dim, generator=generator).unbind()
    q, k = torch.randn(2, 4, length, dim, generator=generator).unbind()
    columns = torch.arange(FRONT, FRONT + n)
    text = torch.tensor([0, 1, *range(FRONT + n, length)])
    return LayerContext(
        hidden[columns], torch.arange(n), n, Stage(3, 0.5, 2), columns, text, Attention(q, k[:2], dim**-0.5),
        text_hidden=hidden[text], embeds=embeds[columns], text_embeds=embeds[text],
    )  # fmt: skip


def slow_raters(given):
    """Positions in the row of the words that rate."""
    words = [i for i, column in enumerate(given.text.tolist()) if column > int(given.columns.max())]
    relevance = [0.0] * len(words)
    for token in given.embeds.double():
        dots = [float(token @ given.text_embeds[i].double()) for i in words]
        total = sum(math.exp(dot - max(dots)) for dot in dots)
        for place, dot in enumerate(dots):
            relevance[place] += math.exp(dot - max(dots)) / total / len(given.embeds)
    mean = sum(relevance) / len(relevance)
    return [int(given.text[i]) for i, own in zip(words, relevance, strict=True) if own > mean]


def slow_scores(given, raters):
    attention, scores = given.attention, [0.0] * given.n_tokens
    for head in range(4):
        q, k = attention.q[head].double(), attention.k[head // 2].double()
        for row in raters:
            dots = [float(q[row] @ k[column]) * attention.scaling for column in range(row + 1)]
            total = sum(math.exp(dot) for dot in dots)
            for place, column in enumerate(given.columns.tolist()):
                scores[place] += math.exp(dots[column]) / total / 4 / len(raters)
    return scores


def slow_peaks(values, n_centres, n_nearest):
    """Centres and the group of each row."""
    rows = values.double()
    squares = [[float((one - other).square().sum()) / len(one) for other in rows] for one in rows]
    density = [math.exp(-sum(sorted(own)[:n_nearest]) / n_nearest) for own in squares]
    rank = sorted(range(len(rows)), key=lambda i: (-density[i], i))
    delta = [
        min((math.sqrt(squares[i][j]) for j in rank[: rank.index(i)]), default=math.sqrt(max(map(max, squares))))
        for i in range(len(rows))
    ]
    centres = sorted(sorted(range(len(rows)), key=lambda i: (-delta[i] * density[i], i))[:n_centres])
    near = [min(range(n_centres), key=lambda c: squares[i][centres[c]]) for i in range(len(rows))]
    return centres, [centres.index(i) if i in centres else near[i] for i in range(len(rows))]


def by_definition(given, n_kept):
    """Which tokens stay, and what each of the recycled ones among them is made of."""
    scores = slow_scores(given, slow_raters(given))
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    left = order[n_kept:]
    members = sorted(left[: int(len(left) * 0.3) + 1])
    centres, group = slow_peaks(given.hidden[members], len(members) // 10 + 1, len(members) // 10 + 1)
    made = {members[c]: [m for m, own in zip(members, group, strict=True) if own == g] for g, c in enumerate(centres)}
    return sorted([*order[:n_kept], *made]), made


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("size", "n_kept", "n_made"), [(40, 12, 1), (80, 20, 2), (80, 5, 3), (41, 39, 1)])
def test_picks_and_groups_are_those_of_the_definition(seed, size, n_kept, n_made):
    given, method = context(size, seed=seed), SparseVLM()
    picks = method.keep(given, n_kept + n_made)
    wanted, made = by_definition(given, n_kept)
    assert picks.tolist() == wanted
    target = method.merge(given, picks).target.tolist()
    found = {int(pick): [i for i, own in enumerate(target) if own == place] for place, pick in enumerate(picks)}
    assert {pick: own for pick, own in found.items() if pick in made} == made
    # what is kept is none but itself
    assert all(own == [pick] for pick, own in found.items() if pick not in made)


def test_groups_by_hand():
    """Two groups on a line: the middle of each is its densest, also where densities would be 0 in float32."""
    line = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    for scale in (1.0, 1e3):
        assert density_peaks(scale * line, 2, 3).tolist() == [1, 4]
    # all are as dense: the earlier one counts as the denser, so that the second of each pair is near to one
    assert density_peaks(torch.tensor([[0.0], [1.0], [10.0], [11.0]]), 2, 2).tolist() == [0, 2]


def test_presets_are_the_published_counts_with_what_is_recycled():
    """Published: what is recycled comes on top and is not counted."""
    for name, kept in (("192", (300, 200, 110)), ("128", (303, 110, 36)), ("64", (66, 30, 17))):
        method, there = SparseVLM.preset(f"llava-1.5-{name}"), 576
        for stage, n in zip(method.stages(32), kept, strict=True):
            given = LayerContext(
                torch.zeros(there, 1), torch.arange(there), 576, stage, torch.arange(there), torch.empty(0).long()
            )
            total = method.count(given)
            assert method._n_kept(there, total) == n
            assert total == n + (int((there - n) * 0.3) + 1) // 10 + 1
            there = total
        assert method.positions == "published"


@pytest.mark.parametrize("n", range(1, 41))
def test_as_many_stay_as_are_asked_for(n):
    given, method = context(), SparseVLM()
    picks = method.keep(given, n)
    assert len({*picks.tolist()}) == n
    assert picks.tolist() == sorted(picks.tolist())
    merge = method.merge(given, picks)
    if merge is None:
        assert n in (1, 40)
    else:
        merge.check("sparsevlm", picks, 40)
        made = len([own for own in merge.target[merge.target >= 0].bincount().tolist() if own > 1])
        assert made <= n // 2


def test_a_share_is_counted_by_its_decimals():
    """0.29 of 100 are 29, in floats 28.999...: a tenth of them and one more, and one more."""
    assert SparseVLM(recycle=0.29).n_recycled(100) == 4
    assert SparseVLM(recycle=0.28).n_recycled(100) == 3
    assert [SparseVLM().n_recycled(n) for n in (0, 1, 29, 30, 276, 109, 94)] == [0, 1, 1, 2, 9, 4, 3]


def test_all_stay_where_as_many_are_asked_for():
    """Published: at least one token leaves."""
    given = dataclasses.replace(context(n=10), stage=Stage(3, 1.0, 2))
    assert SparseVLM().select(given).tolist() == [*range(10)]


def test_without_recycling_the_most_important_stay():
    given = context()
    scores = slow_scores(given, slow_raters(given))
    top = sorted(sorted(range(40), key=lambda i: (-scores[i], i))[:9])
    for method in (SparseVLM(recycle=0.0), SparseVLM(mode="skip")):
        picks = method.keep(given, 9)
        assert picks.tolist() == top
        assert method.merge(given, picks) is None


@pytest.mark.parametrize(
    ("scale", "bias", "wanted"),
    # two words rate: floor(2 scale + bias) are kept, and a tenth of 0.3 of the others recycled, and one more
    [(3.0, 0.0, 6 + 2), (2.5, 3.9, 8 + 2), (0.0, 0.0, 1 + 2), (9.0, 1.0, 19 + 1), (99.0, 0.0, 40)],
)
def test_the_rank_says_how_many_stay(scale, bias, wanted):
    given = context(seed=1)
    raters = slow_raters(given)
    assert len(raters) == 2
    method = SparseVLM(rank_scale=scale, rank_bias=bias)
    assert len(method.select(given)) == wanted
    # words that look the same way are one, and what is in front of the image is no text of its
    q, k = given.attention.q.clone(), given.attention.k.clone()
    q[:, raters], k[:, FRONT + 40 :] = 0, -100
    same = dataclasses.replace(given, attention=Attention(q, k, given.attention.scaling))
    assert SparseVLM(rank_scale=6.0).count(same) == 6 + 2
    assert SparseVLM(rank_scale=6.0).count(given) == 12 + 1


@pytest.mark.parametrize("n_text", [1, 3])
def test_words_that_are_all_alike_all_rate(n_text):
    """Published: no relevance is above the mean of equal ones, and every score NaN."""
    given = context(n_text=n_text)
    given = dataclasses.replace(given, text_embeds=given.text_embeds[-1:].expand(FRONT + n_text, -1))
    method = SparseVLM(recycle=0.0)
    assert method.raters(given).tolist() == [*range(FRONT + 40, FRONT + 40 + n_text)]
    assert method.importance(given).isfinite().all()


def test_no_text_behind_the_image():
    given = context(n_text=0)
    assert SparseVLM().raters(given).tolist() == [FRONT + 39]
    assert len(SparseVLM().keep(given, 7)) == 7


def test_no_generator_has_a_say():
    """Published: noise of the global generator parts tokens of equal density: groups change from call to call."""
    given = context()
    given = dataclasses.replace(given, hidden=given.hidden[:1].expand(40, -1))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        picks = SparseVLM().keep(given, 12)
        found.append((picks.tolist(), SparseVLM().merge(given, picks).target.tolist()))
        assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1]


def test_distance_from_the_words_does_not_rank():
    """Published (second version): scores before the softmax are divided by a factor that falls with the distance.

    Below 0 that turns the ranking round. Tokens that are looked at alike tie, and the earlier one stays.
    """
    given = context(n=12, n_text=2)
    for sign in (-1.0, 1.0):
        q, k = torch.ones_like(given.attention.q), sign * torch.ones_like(given.attention.k)
        own = dataclasses.replace(given, attention=Attention(q, k, 1.0))
        assert SparseVLM(recycle=0.0).keep(own, 4).tolist() == [0, 1, 2, 3]
        k = k.clone()
        k[:, FRONT + 7] += 0.25
        own = dataclasses.replace(given, attention=Attention(q, k, 1.0))
        assert 7 in SparseVLM(recycle=0.0).keep(own, 4).tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": (2, 6)},
        {"stage_counts": (1, 2, 3)},
        {"stage_counts": (2, 1, 0)},
        {"recycle": 1.5},
        {"rank_scale": -1.0},
        {"rank_scale": 2.0, "n_keep": 5},
        {"rank_scale": 2.0, "keep_ratio": 0.5},
        {"layers": (), "stage_counts": ()},
    ],
)
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(ValueError, match="want"):
        SparseVLM(**wrong)
