"""ATP's scores by hand and in float64, and the tokens that it keeps by them."""

from __future__ import annotations

import pytest
import torch

from tokenpruner.base.inside_decoder import LayerContext, Stage
from tokenpruner.methods._atp_scores import AttentionScores, self_score, standardised
from tokenpruner.methods._atp_thresholds import ATPModules
from tokenpruner.methods.atp import ATP
from tokenpruner.models.attention import Attention

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def attention(heads=4, groups=2, length=11, past=3, dim=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(heads, length, dim, generator=generator, dtype=torch.float64)
    k = torch.randn(groups, past + length, dim, generator=generator, dtype=torch.float64)
    return Attention(q, k, 0.3)


COLUMNS, TEXT = torch.tensor([2, 3, 5, 6]), torch.tensor([0, 1, 4, 7, 8, 9, 10])


def scores_by_hand(seen, columns, text, weight):
    """S_self and S_cross from the whole matrix of each head."""
    n_past, length = seen.k.shape[1] - seen.q.shape[1], seen.q.shape[1]
    own, cross = [], []
    for head in range(len(seen.q)):
        logits = seen.q[head] @ seen.k[head * len(seen.k) // len(seen.q)].T * seen.scaling
        image = logits[columns][:, n_past + columns]
        own.append((weight[:, None] * image).sum(0) / weight.sum())
        future = torch.arange(n_past + length) > n_past + torch.arange(length)[:, None]
        weights = logits.masked_fill(future, -torch.inf).softmax(-1)
        behind = [column for column in text.tolist() if column > int(columns.max())]
        cross.append(weights[behind][:, n_past + columns].mean(0))
    return torch.stack(own).mean(0), torch.stack(cross).mean(0)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_the_whole_matrix(weighted):
    seen, weight = attention(), torch.tensor([1, 0.5, 0, 0.9] if weighted else [1.0] * 4, dtype=torch.float64)
    looks = AttentionScores.of(seen, COLUMNS, TEXT, weight)
    own, cross = scores_by_hand(seen, COLUMNS, TEXT, weight)
    torch.testing.assert_close(looks.self_score, own, **EXACT)
    torch.testing.assert_close(looks.cross_score, cross, **EXACT)
    torch.testing.assert_close(looks.redundancy("raw"), (own + cross) / 2, **EXACT)


def test_what_a_token_receives_is_not_what_it_looks_for():
    # the first token is looked at by all, and looks at nothing
    q = torch.tensor([[[0.0], [1], [1]]])
    k = torch.tensor([[[2.0], [0], [0]]])
    got = self_score(Attention(q, k, 1.0), torch.arange(3), torch.ones(3))
    torch.testing.assert_close(got, torch.tensor([4 / 3, 0, 0]))


def test_no_text_behind_the_image():
    looks = AttentionScores.of(attention(), COLUMNS, torch.tensor([0, 1, 4]), torch.ones(4, dtype=torch.float64))
    assert looks.cross_score.tolist() == [0, 0, 0, 0]
    assert standardised(looks.cross_score, looks.weight).tolist() == [0.5] * 4


def test_unit_scores_by_hand():
    # mean 2, standard deviation 2
    scores = torch.tensor([0.0, 4.0], dtype=torch.float64)
    wanted = torch.tensor([-1.0, 1.0], dtype=torch.float64).sigmoid()
    torch.testing.assert_close(standardised(scores, torch.ones(2)), wanted, rtol=1e-9, atol=0)
    # an absent token changes nothing for the others
    with_another = standardised(torch.cat([scores, scores.new_tensor([70.0])]), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(with_another[:2], wanted, rtol=1e-8, atol=0)
    assert standardised(torch.tensor([3.0]), torch.ones(1)).tolist() == [0.5]
    assert standardised(torch.full((5,), 1e4), torch.ones(5)).tolist() == [0.5] * 5


def test_unit_scores_have_a_slope_where_all_are_equal():
    scores = torch.zeros(3, requires_grad=True)
    standardised(scores, torch.ones(3)).sum().backward()
    assert scores.grad.isfinite().all()


def test_margin_by_hand():
    looks = AttentionScores(torch.tensor([0.9, 0.1, -0.5]), torch.tensor([0.3, 0.1, 0.1]), torch.ones(3))

    def thresholds(statistics):
        torch.testing.assert_close(statistics, torch.tensor([0.5 / 3, 0.5 / 3]))
        return torch.tensor(0.4), torch.tensor(0.2)

    # S_red is 0.6, 0.1 and -0.2; the last one is sampled
    margin = looks.margin(torch.tensor([0, 0, 0.25]), thresholds, "raw")
    torch.testing.assert_close(margin, torch.tensor([0.2, -0.2, 0.05]))


def context(size=4, kept=None, seed=1, layer=1):
    seen = attention(seed=seed)
    columns = COLUMNS if kept is None else COLUMNS[kept]
    kept = torch.arange(size) if kept is None else torch.tensor(kept)
    return LayerContext(
        torch.zeros(len(kept), 8), kept, size, Stage(layer, reads=layer - 1), columns, TEXT, seen, (2, 2)
    )


def test_the_fields_are_those_of_the_paper():
    method = ATP()
    assert method.layers == (4, 14, 24)
    assert [stage.layer for stage in method.stages(32)] == [4, 14, 24]
    assert [stage.reads for stage in method.stages(32)] == [3, 13, 23]
    assert all(stage.keep_ratio is None for stage in method.stages(32))
    with pytest.raises(ValueError, match="want a layer from 1 to 23"):
        method.stages(24)


@pytest.mark.parametrize("wrong", [{"layers": (1, 2)}, {"rates": ()}, {"rates": (0.5, 0.25, 0)}, {"scale": "log"}])
def test_wrong_fields(wrong):
    with pytest.raises(ValueError, match="want "):
        ATP(**wrong)


@pytest.mark.parametrize("scale", ["unit", "raw"])
@pytest.mark.parametrize("seed", range(4))
def test_what_goes_on_by_hand(scale, seed, tmp_path):
    torch.manual_seed(seed)
    modules = ATPModules((1,), width=8)
    for parameter in modules.parameters():
        torch.nn.init.normal_(parameter)
    modules.save(tmp_path)
    method = ATP(layers=(1,), rates=(0.25,), sample_weight=2.0, scale=scale, weights=str(tmp_path))
    own, cross = scores_by_hand(attention(seed=seed), COLUMNS, TEXT, torch.ones(4, dtype=torch.float64))
    if scale == "unit":
        statistics = torch.stack([own.mean(), cross.sum()])
        own, cross = (((x - x.mean()) / x.std(correction=0)).sigmoid() for x in (own, cross))
    else:
        statistics = torch.stack([own.mean(), cross.mean()])
    theta_r, theta_s = modules.cuts[0](statistics)
    sampled = torch.tensor([0, 0, 0, 0.5])
    wanted = ((own + cross) / 2 > theta_r) | (sampled > theta_s)
    if not wanted.any():
        wanted[torch.maximum((own + cross) / 2 - theta_r, sampled - theta_s).argmax()] = True
    assert method.select(context(seed=seed)).tolist() == wanted.nonzero().flatten().tolist()


def test_an_image_never_vanishes(tmp_path):
    modules = ATPModules((1,))
    for cut in modules.cuts:
        torch.nn.init.constant_(cut.redundant[2].bias, 30.0)
        torch.nn.init.constant_(cut.spatial[2].bias, 30.0)
    modules.save(tmp_path)
    method = ATP(layers=(1,), rates=(0.25,), weights=str(tmp_path))
    own, cross = scores_by_hand(attention(), COLUMNS, TEXT, torch.ones(4, dtype=torch.float64))
    best = sum(((x - x.mean()) / x.std(correction=0)).sigmoid() for x in (own, cross)).argmax()
    assert method.select(context()).tolist() == [int(best)]


def test_sampling_goes_by_the_place_in_the_picture():
    # of tokens 1 and 3 the second one is sampled, and lets through whatever the scores are
    method = ATP(layers=(1,), rates=(0.25,), sample_weight=1.0)
    assert 1 in method.select(context(kept=[1, 3])).tolist()
    assert 0 in method.select(context(kept=[3])).tolist()


def test_modules_for_other_layers(tmp_path):
    ATPModules((1, 3)).save(tmp_path)
    with pytest.raises(ValueError, match=r"want modules for the layers \(1, 2\), got .* for \(1, 3\)"):
        ATP(layers=(1, 2), rates=(0.5, 0.5), weights=str(tmp_path)).stages(4)
