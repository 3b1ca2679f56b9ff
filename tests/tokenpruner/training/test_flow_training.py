"""The router of flows: agreement by hand, a budget of FLOPs that is met, and what it learns is what it does."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.tokenpruner.methods.flow_replay import IMAGE, replay
from tokenpruner import prune
from tokenpruner.base.layer_flow import Flow, row_features
from tokenpruner.methods.flows import FlowRouter, Flows
from tokenpruner.training import Agreement, FlowTraining, agreements, train_router
from tokenpruner.training.flow_training import prices

SCHEDULES = ("full", "1:0.25", "1:0.5+2:skip")
ROWS = [[2, "I", 3], ["I", 2, "I", 1]]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("ends", [False, True])
def test_agreement_by_hand(model, prompt, singles, ends):
    inputs = prompt(ROWS)
    if ends:
        # the first row says this first, and no more
        said = model.generate(**inputs, do_sample=False, max_new_tokens=2)[0, -2:].tolist()
        model.generation_config.eos_token_id = [63, said[0]]
    found = agreements(model, [inputs, inputs], Flows(SCHEDULES), n_new=2)
    told = model.generate(**inputs, do_sample=False, max_new_tokens=2)[:, -2:]
    assert found.schedules == SCHEDULES
    assert all(torch.equal(x[:2], x[2:]) for x in (found.features, found.agreement, found.flops, found.whole))
    # hidden 32, attention 4 x 8 wide, keys 2 x 8, MLP 48
    per_token = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
    sizes = [(21, 9, 13), (35, 11, 19)]
    for row, (alone, answer) in enumerate(zip(singles(inputs), told.tolist(), strict=True)):
        answer = answer[:1] if ends and row == 0 else answer
        hidden = model(**alone, output_hidden_states=True).hidden_states[1]
        visual = alone["input_ids"] == IMAGE
        close(found.features[row], row_features(hidden, visual, ~visual)[0])
        scores = []
        for text in SCHEDULES:
            logits = replay(model, alone, Flow.parse(text), answer).logits[-len(answer) - 1 : -1].log_softmax(-1)
            scores.append(sum(float(logits[place, token]) for place, token in enumerate(answer)))
        wanted = [min(1.0, torch.tensor(one - scores[0]).exp().item()) for one in scores]
        close(found.agreement[row], torch.tensor(wanted))
        assert wanted[1] != wanted[2]
        whole, quarter, half = (n * per_token + 4 * n * n * 32 for n in sizes[row])
        assert found.flops[row].tolist() == [3 * whole, whole + 2 * quarter, whole + half]
        assert found.whole[row] == 3 * whole


def test_what_cannot_be_measured_is_refused(model, prompt):
    inputs, method = prompt(ROWS), Flows(SCHEDULES)
    for wrong, why in (
        (prompt(ROWS, "right"), "want prompts that end together"),
        (prompt([[2, "I"], [20]]), "want a picture in every prompt"),
        (inputs | {"position_ids": torch.arange(35)[None]}, "want prompts without position_ids"),
    ):
        with pytest.raises(ValueError, match=why):
            agreements(model, [wrong], method, n_new=1)
    for few in (Flows(("1:0.5",)), Flows(("full", "1:1")), Flows(weights="somewhere")):
        with pytest.raises(ValueError, match="want at least two schedules"):
            agreements(model, [inputs], few)
    with pytest.raises(ValueError, match="want at least one batch"):
        agreements(model, [], method)
    with pytest.raises(ValueError, match="in training"):
        agreements(model.train(), [inputs], method)


def drawn(n=120, seed=0):
    """Inputs of which those with a positive first number need all tokens; of three schedules one never pays."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 6, generator=generator)
    is_hard = features[:, 0] > 0
    cheap = torch.where(is_hard, 0.1, 0.95)
    agreement = torch.stack([torch.ones(n), cheap, torch.full((n,), 0.05)], 1)
    whole = torch.full((n,), 1e6, dtype=torch.float64)
    return Agreement(SCHEDULES, features, agreement, whole[:, None] * torch.tensor([1.0, 0.4, 0.35]), whole), is_hard


def share(router, found):
    """What the router's picks cost, its own cost included."""
    picks = router(found.features).argmax(1)
    flops = found.flops[torch.arange(len(picks)), picks] + router.flops
    return float((flops / found.whole).mean()), picks


def test_inputs_that_need_all_tokens_get_them():
    found, is_hard = drawn()
    router = train_router(found, FlowTraining(0.75, width=8))
    spent, picks = share(router, drawn(400, seed=1)[0])
    wanted = torch.where(drawn(400, seed=1)[1], 0, 1)
    assert (picks == wanted).float().mean() > 0.9
    assert spent < 0.76
    assert found.agreement.gather(1, share(router, found)[1][:, None]).mean() > 0.9


def test_a_budget_is_met_and_used():
    found, _ = drawn()
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    before = None
    for wanted in (0.37, 0.45, 0.55, 0.65, 0.9):
        router = train_router(found, FlowTraining(wanted, width=8, steps=100))
        spent, _ = share(router, found.rows(order[:30]))
        assert spent <= wanted
        # three inputs more would be too much, or all get what they need
        assert spent > wanted - 3 * 0.65 / 30 or wanted == 0.9
        assert before is None or spent >= before
        before = spent
    with pytest.raises(ValueError, match=r"want a budget of at least 0\.35\d*, which the cheapest takes, got 0\.3"):
        train_router(found, FlowTraining(0.3, width=8))


def test_prices_by_hand():
    router = FlowRouter(("full", "1:0.5"), inputs=1, width=1)
    with torch.no_grad():
        # agreement 1/2 with all tokens, sigmoid(x) with half of them
        router.layers[0].weight.fill_(1)
        router.layers[0].bias.fill_(20)
        router.layers[2].weight.copy_(torch.tensor([[0.0], [1.0]]))
        router.layers[2].bias.copy_(torch.tensor([0.0, -20.0]))
    features = torch.tensor([[-1.0], [-2.0], [-3.0], [-4.0]])
    whole = torch.full((4,), 1e9, dtype=torch.float64)
    found = Agreement(("full", "1:0.5"), features, features, whole[:, None] * torch.tensor([1, 0.6]), whole)
    # two of four whole: the price is the second one's loss, 1/2 - sigmoid(-2), over 0.4
    found_prices = prices(router, found, 0.8 + 1e-6)
    wanted = 0.5 - torch.tensor(-2.0).sigmoid()
    assert wanted < found_prices[0] - found_prices[1] <= 1.0002 * wanted
    assert router(features).argmax(1).tolist() == [0] * 4
    with torch.no_grad():
        router.prices.copy_(found_prices)
    assert router(features).argmax(1).tolist() == [1, 1, 0, 0]
    # nothing has a price where everything can be had
    assert not prices(router, found, 1.001).any()


def test_one_seed_one_router():
    found, _ = drawn(40)
    settings, before = FlowTraining(0.7, width=4, steps=20), torch.get_rng_state()
    first, again = (train_router(found, settings) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    other = train_router(found, dataclasses.replace(settings, seed=1))
    weights = [router.state_dict()["layers.0.weight"] for router in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("wrong", [{"budget": 0}, {"budget": 1.5}, {"held_out": 0}, {"held_out": 1}, {"steps": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="want"):
        FlowTraining(**({"budget": 0.5} | wrong))


def test_too_few_inputs_are_refused():
    with pytest.raises(ValueError, match="want more than 1 inputs, of which 1 are held out, got 1"):
        train_router(drawn(1)[0], FlowTraining(0.7))


def test_pruning_does_what_was_learned(model, prompt, tmp_path):
    batches = [prompt(ROWS, seed=seed) for seed in range(6)]
    found = agreements(model, batches, Flows(SCHEDULES), n_new=1)
    router = train_router(found, FlowTraining(0.75, width=4, steps=30))
    router.save(tmp_path)
    method, picked = Flows(weights=str(tmp_path)), []
    for inputs in batches:
        with torch.no_grad(), prune(model, method) as report:
            model(**inputs)
        # what the second layer saw: all tokens, or a quarter of the visual ones; or the third none
        second, third = report.prefills[0].layers[1:]
        picked += [
            2 if late == 0 else 0 if seen == before else 1
            for seen, late, before in zip(second, third, report.prefills[0].tokens_before, strict=True)
        ]
    assert picked == router(found.features).argmax(1).tolist()
    assert len({*picked}) > 1
