"""Methods before the decoder that read the vision tower or all pairs of tokens: by hand, and against slow loops."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.conftest import build, encode
from tokenpruner import Context, prune
from tokenpruner.methods.cdpruner import CDPruner
from tokenpruner.methods.facility_location import FacilityLocation
from tokenpruner.methods.holov import HoloV
from tokenpruner.methods.prumerge import PruMerge
from tokenpruner.methods.visionzip import VisionZip
from tokenpruner.methods.vispruner import VisPruner
from tokenpruner.models.tower_reading import TowerReading


def context(size, attention=None, keys=None, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    visual = torch.randn(size, width, generator=generator)
    attention = torch.rand(size, generator=generator) if attention is None else torch.tensor(attention)
    keys = torch.randn(size, 2, 4, generator=generator) if keys is None else torch.tensor(keys)[:, None].float()
    text = torch.randn(7, width, generator=generator)
    return Context(visual, text=text, tower=TowerReading(attention, attention, keys))


def cosines(rows):
    rows = torch.nn.functional.normalize(rows.double(), dim=-1)
    return rows @ rows.T


def test_visionzip_by_hand():
    # 4 of 8: round(4 * .5) contextual ones; dominant are 2 and 5; of 0 1 3 4 6 7 every third is a target: 0 and 4
    keys = [[1.0, 0], [0.9, 0.1], [0, 0], [0.1, 1], [0, 1], [1, 1], [1, 0.3], [0.2, 1]]
    given = context(8, [0.1, 0.0, 0.9, 0.2, 0.1, 0.8, 0.1, 0.2], keys)
    method = VisionZip(n_keep=4, contextual=0.5)
    picks = method.select(given)
    assert picks.tolist() == [0, 2, 4, 5]
    # 1 and 6 lie with 0, 3 and 7 with 4; nothing goes into dominant tokens
    assert method.merge(given, picks).target.tolist() == [0, 0, 1, 2, 2, 3, 0, 2]


def test_visionzip_averages_what_goes_into_a_contextual_token():
    """Published: the target and the mean of the others, added up, so that merged tokens grow."""
    model, inputs = build(), encode([[2, "I", 3]])
    features = model.model.get_image_features(inputs["pixel_values"]).pooler_output[0]
    seen = []
    handle = model.model.language_model.layers[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    method = VisionZip(n_keep=6, contextual=0.5)
    with torch.no_grad(), prune(model, method) as report:
        model(**inputs)
    handle.remove()
    entered, kept = seen[0][0, 2:8], list(report.prefills[0].images[0].kept)
    merged = [place for place, token in enumerate(kept) if not torch.equal(entered[place], features[token])]
    assert 1 <= len(merged) <= 3
    assert entered.norm(dim=-1).max() <= features.norm(dim=-1).max()
    total = sum(int(torch.equal(entered[place], features[token])) for place, token in enumerate(kept))
    assert total >= 3


def test_prumerge_by_hand():
    keys = [[1.0, 0], [0.9, 0.1], [0, 1], [0.1, 1], [1, 0.2]]
    given = context(5, [0.5, 0.1, 0.4, 0.05, 0.2], keys)
    method = PruMerge(n_keep=2)
    picks = method.select(given)
    assert picks.tolist() == [0, 2]
    merge = method.merge(given, picks)
    assert merge.target.tolist() == [0, 0, 1, 1, 0]
    assert merge.weight.tolist() == pytest.approx([0.5, 0.1, 0.4, 0.05, 0.2])


def test_prumerge_plus_takes_an_even_grid_first():
    # 4 of 8, three of them middles of equal stretches: 1, 4, 6; then the most attended of the others
    given = context(8, [0.1, 0.0, 0.3, 0.9, 0.0, 0.2, 0.0, 0.1])
    assert PruMerge(n_keep=4, grid=0.75).select(given).tolist() == [1, 3, 4, 6]


def test_a_sum_of_equal_attention_does_not_push_the_grid_out():
    given = context(6, [1.0] * 6)
    assert PruMerge(n_keep=2, grid=1.0).select(given).tolist() == [1, 4]


@pytest.mark.parametrize("relevance", ["positive", "negative"])
@pytest.mark.parametrize("n", [1, 5, 12])
def test_cdpruner_is_the_greedy_search_of_the_determinant(relevance, n):
    """Literal: each pick is the token that makes the determinant of the kernel largest, in float64."""
    given = context(30, width=16)
    pairs = torch.nn.functional.normalize(given.visual.double(), dim=1)
    texts = torch.nn.functional.normalize(given.text.double(), dim=1)
    r = (pairs @ texts.T).mean(1) * (1 if relevance == "positive" else -1)
    r = (r - r.min()) / (r.max() - r.min())
    kernel = r[:, None] * cosines(given.visual) * r
    picks: list[int] = []
    for _ in range(n):
        gains = [
            -torch.inf if own in picks else torch.linalg.slogdet(kernel[[*picks, own]][:, [*picks, own]])[1].item()
            for own in range(30)
        ]
        picks.append(max(range(30), key=gains.__getitem__))
    assert CDPruner(n_keep=n, relevance=relevance).select(given).tolist() == sorted(picks)


def test_cdpruner_scales_over_the_image_and_not_the_batch():
    model, inputs = build(), encode([[2, "I", 3], [3, "I", 2]])
    with torch.no_grad(), prune(model, CDPruner(n_keep=5)) as report:
        model(**inputs)
        alone = [
            {"input_ids": inputs["input_ids"][row : row + 1], "pixel_values": inputs["pixel_values"][row : row + 1]}
            for row in range(2)
        ]
        for own in alone:
            model(**own)
    batch, *singles = report.prefills
    assert [image.kept for image in batch.images] == [one.images[0].kept for one in singles]


def test_vispruner_against_its_rounds():
    """Rounds of eight: of the tokens left, in turns into two halves, those most similar to the other half leave."""
    given = context(60)
    n, attention = 20, given.tower.class_attention.double()
    order = sorted(range(60), key=lambda own: (-float(attention[own]), own))
    important, left = sorted(order[:10]), sorted(order[10:])
    pairs = cosines(given.visual)
    while len(left) > n - len(important):
        first, second = left[::2], left[1::2]
        similar = {own: max(float(pairs[own, other]) for other in second) for own in first}
        gone = sorted(first, key=lambda own: (-similar[own], own))[: min(8, len(left) - (n - len(important)))]
        left = [own for own in left if own not in gone]
    assert VisPruner(n_keep=n).select(given).tolist() == sorted(important + left)


@pytest.mark.parametrize("n", [1, 2, 3, 29, 30])
def test_vispruner_stops_at_odd_remainders(n):
    assert len(VisPruner(n_keep=n).select(context(31))) == n


def test_holov_against_its_formula():
    given = context(40)
    attention, pairs = given.tower.class_attention.double(), cosines(given.visual)
    crops = [list(range(start, start + 10)) for start in range(0, 40, 10)]
    variance = torch.tensor(
        [pairs[own][[o for c in crops if own in c for o in c]].var(correction=0) for own in range(40)]
    )
    score = attention + 0.09 * variance * attention.mean() / variance.mean()
    means = torch.tensor([score[crop].mean() for crop in crops])
    wanted = 13 * means / means.sum()
    counts = wanted.floor().long()
    for own in sorted(range(4), key=lambda own: -float(wanted[own] - counts[own]))[: 13 - int(counts.sum())]:
        counts[own] += 1
    picks = [
        own for crop, count in zip(crops, counts, strict=True) for own in sorted(crop, key=lambda o: -score[o])[:count]
    ]
    assert HoloV(n_keep=13, crops=4).select(given).tolist() == sorted(picks)


def test_holov_keeps_some_of_every_crop():
    """Attention on one corner alone does not take the whole budget, where the others vary."""
    attention = torch.full((64,), 1e-3)
    attention[:8] = 0.1
    given = context(64, attention.tolist())
    kept = HoloV(n_keep=16, crops=8, beta=1.0).select(given)
    assert len({int(own) // 8 for own in kept}) == 8


def test_facility_location_against_plain_greedy():
    given = context(25)
    pairs, picks = cosines(given.visual), []
    for _ in range(6):
        values = [-torch.inf if own in picks else pairs[[*picks, own]].amax(0).sum().item() for own in range(25)]
        picks.append(max(range(25), key=values.__getitem__))
    assert FacilityLocation(n_keep=6).select(given).tolist() == sorted(picks)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: VisionZip(contextual=1.0),
        lambda: PruMerge(grid=1.1),
        lambda: VisPruner(important=-0.1),
        lambda: HoloV(crops=0),
        lambda: CDPruner(relevance="none"),
    ],
)
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(ValueError, match="want"):
        wrong()
