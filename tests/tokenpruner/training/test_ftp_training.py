"""Training of FTP's router: a pass is what pruning does, gradients are the loop's, and the router learns."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from tests.tokenpruner.checkpointing import checkpoint
from tests.tokenpruner.methods.ftp_replay import SCHEDULE, N, replay, trained
from tokenpruner import prune
from tokenpruner.methods.atp import ATP
from tokenpruner.methods.ftp import FTP
from tokenpruner.training import (
    ATPModules,
    FTPLoss,
    FTPRouter,
    Routed,
    distillation,
    schedule_loss,
    search_schedule,
    soften,
)
from tokenpruner.training.ftp_losses import guides
from tokenpruner.training.schedule_search import GeneticSearch

IMAGE, IGNORED = 5, -100
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], [3, "I", "I", 1], ["I"]]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


def answered(inputs, n_answer, seed):
    """Labels on the last tokens, which are others for each seed."""
    labels, changed = torch.full_like(inputs["input_ids"], IGNORED), inputs["input_ids"].clone()
    shape = len(labels), n_answer
    changed[:, -n_answer:] = torch.randint(6, 62, shape, generator=torch.Generator().manual_seed(seed))
    labels[:, -n_answer:] = changed[:, -n_answer:]
    return inputs | {"input_ids": changed, "labels": labels}


@pytest.mark.parametrize("side", ["left", "right"])
def test_pruning_computes_what_training_did(model, prompt, singles, tmp_path, side):
    router, inputs = trained(), prompt(RAGGED, side)
    router.save(tmp_path)
    with torch.no_grad():
        with soften(model, FTP(), router) as routes:
            trained_logits = model(**inputs).logits
            kept = routes.kept
        with prune(model, FTP(weights=str(tmp_path))) as report:
            pruned = model(**inputs).logits
    real = inputs["attention_mask"].bool()
    close(trained_logits[real], pruned[real])
    cuts = report.prefills[0].cuts
    assert kept.sizes == (N,) * 6
    for layer in range(2):
        for image, own in zip(cuts[layer], kept.computed[:, layer].view(-1, N), strict=True):
            assert own.nonzero().flatten().tolist() == [*image.kept]
    assert kept.counts.tolist() == [[len(one.kept), len(two.kept)] for one, two in zip(*cuts[:2], strict=True)]
    close(kept.mean, (N + kept.counts.sum(1)) / 3)
    # and both are the loop's
    runs = [replay(model, row, SCHEDULE, router) for row in singles(inputs)]
    for row, run in enumerate(runs):
        close(trained_logits[row][inputs["attention_mask"][row].bool()], run.logits)
    for layer in range(2):
        looks = [look for run in runs for look in run.attention[layer]]
        close(kept.attention[:, layer], torch.cat(looks))


def test_gradients_are_those_of_the_loop(model, prompt, singles):
    router, inputs = trained(), prompt(RAGGED, "right")
    parameters = [*router.parameters(), *model.parameters()]
    weights = torch.randn(64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with soften(model, FTP(), router) as routes:
        logits = model(**inputs).logits
        kept = routes.kept
    real = inputs["attention_mask"].bool()
    goal = FTPLoss(guide_weight=0.0, under_weight=0.5)
    loss = (logits.log_softmax(-1) @ weights)[real].mean() + goal(kept) + kept.logits.square().mean()
    runs = [replay(model, alone, SCHEDULE, router) for alone in singles(inputs)]
    wanted = torch.cat([run.logits.log_softmax(-1) @ weights for run in runs]).mean()
    scores = torch.stack([torch.cat([own for run in runs for own in run.scores[layer]]) for layer in range(2)], 1)
    p = scores.sigmoid()
    y = (kept.computed.detach() + p - p.detach()).view(-1, N, 2).mean(1)
    over = y - torch.tensor([0.6, 1 - 0.7]).double()
    wanted = wanted + torch.where(over > 0, over, -0.5 * over).mean() + scores.square().mean()
    close(loss, wanted)
    found, expected = (torch.autograd.grad(own, parameters, allow_unused=True) for own in (loss, wanted))
    assert all(gradient.abs().max() > 0 for gradient in found[: len([*router.parameters()])])
    for got, own in zip(found, expected, strict=True):
        assert (got is None) == (own is None)
        if own is not None:
            assert (got - own).abs().max() <= 1e-4 * own.abs().max() + 1e-7


def test_answers_have_no_say(model, prompt):
    router, inputs, found = trained(), prompt([[2, "I", 7], ["I", 5]]), []
    with torch.no_grad(), soften(model, FTP(), router) as routes:
        for seed in (1, 2):
            batch = answered(inputs, 3, seed)
            model(**batch)
            found.append(routes.kept.computed)
        model(**{**batch, "labels": None})
    assert torch.equal(*found)
    assert not torch.equal(routes.kept.attention, found[0])


def test_gradient_checkpointing_changes_nothing(model, prompt, checkpointed_hooks):
    if checkpointed_hooks:
        pytest.skip("this transformers runs hooks again, which is refused")
    router, batch, found = trained(), answered(prompt([[2, "I", 7], ["I", 5]]), 3, 1), []
    parameters = [*router.parameters(), *model.parameters()]
    model.train()
    for _ in range(2):
        with soften(model, FTP(), router) as routes:
            loss = model(**batch, use_cache=False).loss + FTPLoss()(routes.kept)
        found.append((loss, torch.autograd.grad(loss, parameters, allow_unused=True)))
        checkpoint(model, False)
    assert torch.equal(found[0][0], found[1][0])
    for got, own in zip(found[1][1], found[0][1], strict=True):
        assert (own is None and got is None) or torch.equal(got, own)


def test_text_alone_and_a_layer_that_none_passes(model, prompt):
    text = prompt([[5], [3]])
    with torch.no_grad():
        wanted = model(**text).logits
        with soften(model, FTP(), trained()) as routes:
            assert torch.equal(model(**text).logits, wanted)
            assert FTPLoss()(routes.kept).item() == 0
            assert routes.kept.counts.shape == (0, 2)
        with soften(model, FTP(), trained((0, 0, 0.5))) as routes:
            model(**prompt([[2, "I", 3]]))
            assert (routes.kept.shares, routes.kept.counts.shape) == ((0.5,), (1, 1))


def test_the_model_is_left_as_it_was(watched):
    model, inputs, check = watched
    with soften(model, FTP(), trained()):
        model(**inputs)
    check()


@pytest.mark.parametrize(
    ("method", "router", "match"),
    [
        (FTP(schedule=(0, 0.5, 0.5)), trained(), r"want a router with the schedule \(0, 0.5, 0.5\)"),
        (FTP(mode="skip"), trained(), 'want mode="route" in training'),
        (FTP(newlines="compete"), trained(), 'want newlines="keep" in training'),
        (FTP(), trained((0, 0.5)), "want a schedule for 3 decoder layers, got one for 2"),
        (FTP(), ATPModules((1, 2)), "want a method with learned thresholds or routes"),
        (ATP(layers=(1, 2), rates=(0.5, 0.5)), trained(), "want a method with learned thresholds or routes"),
    ],
)
def test_refusals(model, method, router, match):
    with pytest.raises(ValueError, match=match), soften(model, method, router):
        pass


def routed(logits, attention, sizes, shares, n_layers=3):
    logits = torch.tensor(logits)
    return Routed(logits, (logits > 0).float(), torch.tensor(attention), sizes, shares, n_layers)


def test_losses_by_hand():
    # an image of four tokens and one of two, in the one layer of two that half of them shall pass by
    logits = [[2.0], [-1.0], [0.5], [1.0], [-1.0], [-2.0]]
    own = routed(logits, [[0.1], [0.2], [0.1], [0.0], [0.3], [0.3]], (4, 2), (0.5,), 2)
    # first and last: 0 and 3; most attended: 1, and 0 of two equal ones. Of two tokens one is computed: the first
    assert guides(own)[:, 0].tolist() == [1.0, 0.5, 0.0, 0.5, 1.0, 0.0]
    assert own.counts.tolist() == [[3], [0]]
    assert own.mean.tolist() == [3.5, 1.0]
    p = [1 / (1 + math.exp(-x)) for (x,) in logits]
    targets = [1, 0.5, 0, 0.5, 1, 0]
    wanted = -sum(t * math.log(q) + (1 - t) * math.log(1 - q) for t, q in zip(targets, p, strict=True)) / 6
    assert FTPLoss().guide(own).item() == pytest.approx(wanted, rel=1e-5)
    # a quarter too many cost that, a half too few a tenth of it
    assert FTPLoss().sparsity(own).item() == pytest.approx((0.25 + 0.1 * 0.5) / 2)
    assert FTPLoss(2.0, 3.0)(own).item() == pytest.approx(2 * wanted + 3 * 0.15, rel=1e-5)


def test_distillation_by_hand():
    own, whole = torch.tensor([[[0.0, 1.0], [5.0, 5.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 9.0]]])
    q, p = (x[0, 0].softmax(-1) for x in (own, whole))
    wanted = float((p * (p / q).log()).sum())
    assert distillation(own, whole, torch.tensor([[True, False]])).item() == pytest.approx(wanted, rel=1e-5)
    assert distillation(whole, whole, torch.ones(1, 2).bool()).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r"want logits \[B, L, V\] twice"):
        distillation(own, whole[:, :1], torch.ones(1, 2).bool())


@pytest.mark.parametrize("wrong", [{"guide_weight": -1}, {"under_weight": math.nan}])
def test_wrong_losses(wrong):
    with pytest.raises(ValueError, match="want "):
        FTPLoss(**wrong)


def test_the_router_learns_how_many_tokens_to_compute(model, prompt, tmp_path):
    """The share moves to what the schedule asks for, the model stays, and pruning computes what training did."""
    model.float().requires_grad_(False)
    batch = prompt([[2, "I", 7], ["I", 5], [3, "I", 4]])
    batch["pixel_values"] = batch["pixel_values"].float()
    router, mask = FTPRouter((0, 0.5, 0.5), width=16), batch["attention_mask"].bool()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    whole, found = model(**batch).logits, []
    optimizer = torch.optim.AdamW(router.parameters(), lr=2e-2)
    with soften(model, FTP(), router) as routes:
        for _ in range(40):
            loss = distillation(model(**batch).logits, whole, mask) + FTPLoss()(routes.kept)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(float(routes.kept.mean.detach().mean()) / N)
        model(**batch)
        last = routes.kept
    # a new router computes all tokens; two thirds of them are wanted, the mean over three layers
    assert found[0] == 1
    assert abs(last.mean.mean().item() / N - 2 / 3) < 0.25 * (1 - 2 / 3)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    router.save(tmp_path)
    with torch.no_grad(), prune(model, FTP(weights=str(tmp_path))) as report:
        model(**batch)
    assert [[len(image.kept) for image in cut] for cut in report.prefills[0].cuts[:2]] == last.counts.T.tolist()


def test_the_search_keeps_the_mean_and_finds_what_is_planted():
    """A layer that may be passed by at no cost, and one that must not be."""
    asked = []

    def loss(schedule):
        asked.append(schedule)
        return sum(cost * share**2 for cost, share in zip((0, 5, 0.1, 1, 1), schedule, strict=True))

    found = search_schedule(loss, 5, 0.7)
    assert len({*asked}) == len(asked)
    assert {round(100 * sum(schedule)) for schedule in asked} == {150}
    assert all(schedule[0] == 0 and min(schedule) >= 0 and max(schedule) <= 0.9 for schedule in asked)
    assert loss(found) < 0.6 * loss(FTP(0.7).shares(5))
    assert found[2] > 0.5
    assert found[1] < 0.5
    assert search_schedule(loss, 5, 0.7) == found
    assert search_schedule(loss, 5, 0.7, GeneticSearch(seed=1)) != found
    # from a start on it is never worse
    assert loss(search_schedule(loss, 5, 0.7, GeneticSearch(generations=1, seed=2), found)) <= loss(found)


def test_wrong_searches():
    with pytest.raises(ValueError, match=r"want a keep_ratio of at least 0\.55 where 0\.9 may pass, got 0\.5"):
        search_schedule(lambda schedule: 0.0, 2, 0.5)
    with pytest.raises(ValueError, match="want a start for 3 decoder layers"):
        search_schedule(lambda schedule: 0.0, 3, 0.7, start=(0, 0.5))
    for wrong in ({"population": 1}, {"step": 0}, {"mutation": 0.0}, {"most": 1.0}):
        with pytest.raises(ValueError, match="want"):
            dataclasses.replace(GeneticSearch(), **wrong)


def test_a_schedule_costs_what_it_changes(model, prompt, tmp_path):
    batches = [prompt([[2, "I", 3], ["I", 6]]), prompt([["I", 4]])]
    loss = schedule_loss(model, batches)
    assert loss((0.0, 0.0, 0.0)) == pytest.approx(0, abs=1e-9)
    losses = []
    with torch.no_grad():
        for batch in batches:
            whole, mask = model(**batch).logits, batch["attention_mask"].bool()
            with prune(model, FTP(schedule=(0, 0.5, 0.25))):
                losses.append(float(distillation(model(**batch).logits, whole, mask)))
    assert loss((0.0, 0.5, 0.25)) == pytest.approx(sum(losses) / 2, rel=1e-6)
    # with a router the same schedule is another pass
    trained().save(tmp_path)
    assert schedule_loss(model, batches, FTP(weights=str(tmp_path)))((0.0, 0.5, 0.25)) != loss((0.0, 0.5, 0.25))
    found = search_schedule(loss, 3, 0.7, GeneticSearch(population=4, generations=1))
    assert loss(found) <= loss(FTP(0.7).shares(3))
