"""The parts of ATP: scores, thresholds and losses, by hand and in float64."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest
import torch

from tokenpruner.base.inside_decoder import LayerContext, Stage
from tokenpruner.methods._atp_scores import AttentionScores, self_score, standardised
from tokenpruner.methods._atp_thresholds import ATPModule, ATPModules, untrained
from tokenpruner.methods.atp import ATP
from tokenpruner.models.attention import Attention
from tokenpruner.training.atp_losses import ATPLoss, Kept

EXACT = {"rtol": 1e-12, "atol": 1e-12}

# --- scores ---


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


# --- thresholds ---


def test_thresholds_by_hand():
    torch.manual_seed(0)
    module = ATPModule(3).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    z = module.embed.weight @ torch.tensor([0.3, 0.7], dtype=torch.float64) + module.embed.bias
    for got, mlp in zip(module(torch.tensor([0.3, 0.7])), (module.redundant, module.spatial), strict=True):
        inner = torch.nn.functional.gelu(mlp[0].weight @ z + mlp[0].bias)
        wanted = (mlp[2].weight @ inner + mlp[2].bias).sigmoid()[0]
        # the statistics were float32
        torch.testing.assert_close(got.double(), wanted, rtol=1e-6, atol=0)


def test_new_modules_have_the_thresholds_of_none():
    statistics = torch.tensor([12.5, 0.01])
    assert [theta.item() for theta in ATPModule()(statistics)] == [0.5, 0.5]
    assert [theta.item() for theta in untrained(statistics)] == [0.5, 0.5]


def test_modules_come_back_from_a_file(tmp_path):
    torch.manual_seed(0)
    modules = ATPModules((1, 2), width=8)
    for parameter in modules.parameters():
        torch.nn.init.normal_(parameter)
    assert modules.save(tmp_path) == tmp_path / "atp.safetensors"
    for path in (tmp_path, tmp_path / "atp.safetensors"):
        again = ATPModules.load(path)
        assert (again.layers, again.width) == ((1, 2), 8)
        assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in modules.state_dict().items())
        assert not any(parameter.requires_grad for parameter in again.parameters())


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(ValueError, match="want a file that ATPModules.save wrote"):
        ATPModules.load(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="without layers and width"):
        ATPModules.load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="want weights that ATPModules.save wrote"):
        ATP(weights=str(tmp_path / "none.safetensors")).stages(32)


def write(path, layers="1/2", width="8", **changes):
    """What `save` writes, with other metadata and tensors."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in ATPModules((1, 2), width=8).state_dict().items()} | changes
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(tensors, path, {"format": "pt", "layers": layers, "width": width})
    return path


FIRST = "cuts.0.embed.bias"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({FIRST: None}, f"want all weights of the model, got none for {FIRST}"),
        ({"more": torch.zeros(1)}, "want only the model's weights, got also 'more'"),
        ({FIRST: torch.zeros(9)}, rf"want {FIRST} of shape \[8\], got \[9\]"),
        ({FIRST: torch.full((8,), math.nan)}, "want finite weights"),
        ({FIRST: torch.zeros(8, dtype=torch.float64)}, "want weights of one type of floats, got .*float32.*float64"),
        ({FIRST: torch.zeros(8, dtype=torch.int64)}, "want weights of one type of floats, got .*float32.*int64"),
        ({"layers": "1"}, "want only the model's weights, got also 'cuts.1"),
        ({"layers": "1/2/3"}, "want all weights of the model, got none for cuts.2"),
        ({"layers": "2/1"}, "want layers that ascend from 1 on, got '2/1'"),
        ({"layers": "0/1"}, "want layers that ascend from 1 on, got '0/1'"),
        ({"layers": "1/x"}, "want layers such as 4/14/24, got '1/x'"),
        ({"layers": ""}, "want layers such as 4/14/24, got ''"),
        ({"layers": "/".join(map(str, range(1, 9000)))}, "want layers such as 4/14/24"),
        ({"width": "9"}, r"of shape \[9"),
        ({"width": "99999999999"}, "want a width from 1 to 1024, got '99999999999'"),
        ({"width": "9999"}, "want a width from 1 to 1024, got '9999'"),
        ({"width": "-8"}, "want a width from 1 to 1024, got '-8'"),
        ({"width": "eight"}, "want a width from 1 to 1024, got 'eight'"),
    ],
    ids=str,
)
def test_a_file_that_is_not_whole_or_not_ours_is_named(tmp_path, changes, why):
    path = write(tmp_path / "atp.safetensors", **changes)
    with pytest.raises(ValueError, match=why) as caught:
        ATPModules.load(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_cut_short_is_named(tmp_path):
    path = write(tmp_path / "atp.safetensors")
    whole = path.read_bytes()
    for length in (0, 7, 100, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"atp\.safetensors: want whole safetensors, got a broken file"):
            ATPModules.load(path)


def test_modules_are_saved_over_modules_and_over_nothing_else(tmp_path):
    from safetensors.torch import save_file

    ATPModules((1, 2), width=8).save(tmp_path)
    file = ATPModules((1, 3), width=4).save(tmp_path)
    assert ATPModules.load(tmp_path).layers == (1, 3)
    save_file({"a": torch.zeros(1)}, file, {"format": "pt"})
    before = file.read_bytes()
    with pytest.raises(ValueError, match="is there already, and nothing that may be replaced"):
        ATPModules((1, 2)).save(tmp_path)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["atp.safetensors"]


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    file = ATPModules((1, 2), width=8).save(tmp_path)
    before = file.read_bytes()

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        ATPModules((1, 3)).save(tmp_path)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["atp.safetensors"]


# --- the method ---


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


# --- losses ---


def test_losses_by_hand():
    # two images of 8 and 16 tokens, cuts before layers 1 and 3 of 4
    kept = Kept(torch.tensor([[4.0, 2.0], [8.0, 4.0]]), torch.tensor([8, 16]), (1, 3), 4)
    assert kept.mean.tolist() == [(8 + 2 * 4 + 2) / 4, (16 + 2 * 8 + 4) / 4]
    loss = ATPLoss(keep_ratio=0.5)
    torch.testing.assert_close(loss.depth(kept), torch.tensor(0.5 * 1 + 0.25 * 3))
    torch.testing.assert_close(loss.target(kept), torch.tensor(((4.5 - 4) + (9 - 8)) / 2))
    torch.testing.assert_close(loss(kept), torch.tensor(0.05 * 1.25 + 0.2 * 0.75))
    assert ATPLoss() == ATPLoss(0.25, 0.05, 0.2)


def test_the_paper_trains_towards_144_tokens():
    counts = torch.tensor([[200.0, 80.0, 20.0]])
    kept = Kept(counts, torch.tensor([576]), (4, 14, 24), 32)
    mean = (4 * 576 + 10 * 200 + 10 * 80 + 8 * 20) / 32
    torch.testing.assert_close(ATPLoss().target(kept), torch.tensor(abs(mean - 144)))


def test_no_images_cost_nothing():
    kept = Kept(torch.zeros(0, 2), torch.zeros(0), (1, 3), 4)
    assert ATPLoss()(kept).item() == 0


@pytest.mark.parametrize("wrong", [{"keep_ratio": 0}, {"atp_weight": -1}, {"target_weight": math.nan}])
def test_wrong_losses(wrong):
    with pytest.raises(ValueError, match="want "):
        ATPLoss(**wrong)
