"""ATP in a model: dropping and soft masks are those of a replay with our own attention, and the modules learn."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest
import torch

from tests.tokenpruner.replaying import rotated, through
from tokenpruner import prune
from tokenpruner.layers import check_recomputed
from tokenpruner.methods.atp import ATP
from tokenpruner.methods.fastv import FastV
from tokenpruner.training import ATPLoss, ATPModules, soften

IMAGE, N, IGNORED = 5, 16, -100
CLOSE = {"rtol": 0, "atol": 2e-5}
GREEDY = {"do_sample": False, "max_new_tokens": 6, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], [3, "I", "I", 1]]
# the sampled tokens of a picture of four lines, by rate
SAMPLED = {0.25: [5, 7, 13, 15], 0.0625: [10]}


def trained(layers=(1, 2), seed=2, spread=0.3):
    """Modules whose thresholds differ from image to image."""
    torch.manual_seed(seed)
    modules = ATPModules(layers, width=8).double()
    for parameter in modules.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return modules


@pytest.fixture
def modules():
    return trained()


@pytest.fixture
def method(modules, tmp_path):
    return ATP(layers=(1, 2), rates=(0.25, 0.0625), sample_weight=1.6, weights=str(modules.save(tmp_path)))


@dataclass
class ByHand:
    """`logits` [P, V] of what is left, its columns `kept`, the `picks` by image, soft `counts` [images, cuts]."""

    logits: torch.Tensor
    kept: list[int]
    picks: list[list[int]]
    counts: torch.Tensor


def scores_of(layer, hidden, positions):
    """Scores before the softmax [heads, P, P] of a Llama layer, in float64, nothing masked."""
    attention, entering = layer.self_attn, layer.input_layernorm(hidden)
    size = attention.head_dim
    queries, keys = attention.q_proj(entering), attention.k_proj(entering)
    group = queries.shape[-1] // keys.shape[-1]
    found = []
    for head in range(queries.shape[-1] // size):
        q = rotated(queries[:, head * size : (head + 1) * size], positions)
        k = rotated(keys[:, head // group * size : (head // group + 1) * size], positions)
        found.append(q @ k.T / size**0.5)
    return torch.stack(found)


def unit(scores, weight):
    average = (scores * weight).sum() / weight.sum()
    variance = ((scores - average).square() * weight).sum() / weight.sum()
    return ((scores - average) / variance.sqrt()).sigmoid()


def margin(module, own, cross, weight, sampled):
    """By how much tokens are above a threshold, with the sampled ones' score in `sampled`."""
    theta_r, theta_s = module(torch.stack([(own * weight).sum() / weight.sum(), cross.sum()]))
    redundancy = (unit(own, weight) + unit(cross, weight)) / 2
    return torch.maximum(redundancy - theta_r, sampled - theta_s)


def replay(model, row, method, modules, temperature=None, more=(), n_prompt=None):
    """One row without padding, then the tokens `more`; soft masks where there is a temperature."""
    ids = torch.cat([row["input_ids"][0], torch.tensor(list(more), dtype=torch.int64)])
    n_prompt = len(row["input_ids"][0]) if n_prompt is None else n_prompt
    hidden = model.get_input_embeddings()(ids)
    places = torch.empty(0, N).long()
    if "pixel_values" in row:
        places = (ids == IMAGE).nonzero().flatten().view(-1, N)
        features = model.model.get_image_features(row["pixel_values"]).pooler_output
        hidden = hidden.index_put((places.flatten(),), torch.cat(list(features)))
    kept, picks, counts = list(range(len(ids))), [list(range(N)) for _ in places], []
    masks = torch.zeros(len(ids), dtype=hidden.dtype)
    for number, layer in enumerate(model.model.language_model.layers):
        scores = scores_of(layer, hidden, torch.tensor(kept))
        future = torch.ones(len(kept), len(kept)).triu(1).bool()
        weights = (scores + masks).masked_fill(future, -torch.inf).softmax(-1)
        hidden = through(layer, hidden, weights)
        if number + 1 not in method.layers:
            continue
        cut, new, left = method.layers.index(number + 1), [], []
        rate = method.rates[cut]
        for image, columns in enumerate(places.tolist()):
            local = [kept.index(columns[token]) for token in picks[image]]
            text = [i for i, column in enumerate(kept) if columns[-1] < column < n_prompt and int(ids[column]) != IMAGE]
            weight = masks[local].exp()
            received = (scores[:, local][:, :, local] * weight[:, None]).sum(1) / weight.sum()
            looked = weights[:, text][:, :, local].mean((0, 1)) if text else torch.zeros(len(local)).double()
            sampled = torch.tensor([1 - rate * method.sample_weight if i in SAMPLED[rate] else 0 for i in picks[image]])
            found = margin(modules.cuts[cut], received.mean(0), looked, weight, sampled)
            new.append((local, masks[local] + torch.nn.functional.logsigmoid((temperature or 0) * found)))
            left.append(new[-1][1].exp().sum())
            if temperature is None:
                stays = (found > 0).tolist() if (found > 0).any() else [i == found.argmax() for i in range(len(found))]
                picks[image] = [token for token, stay in zip(picks[image], stays, strict=True) if stay]
        if temperature is not None:
            for local, values in new:
                masks = masks.index_put((torch.tensor(local),), values)
            counts.append(torch.stack(left) if left else torch.zeros(0))
            continue
        alive = {columns[token] for columns, own in zip(places.tolist(), picks, strict=True) for token in own}
        gone = {column for columns in places.tolist() for column in columns} - alive
        stay = [i for i, column in enumerate(kept) if column not in gone]
        hidden, kept, masks = hidden[stay], [kept[i] for i in stay], masks[stay]
    logits = model.lm_head(model.model.language_model.norm(hidden))
    return ByHand(logits, kept, picks, torch.stack(counts, 1) if counts else torch.zeros(0))


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), **CLOSE)


def stepwise(out):
    return torch.stack(out.logits, 1)


# --- dropping ---


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_dropped_differs_from_image_to_image(model, prompt, singles, modules, method, side):
    inputs = prompt(RAGGED, side)
    with torch.no_grad(), prune(model, method) as report:
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    wanted = [replay(model, alone, method, modules) for alone in singles(inputs)]
    for row, run in enumerate(wanted):
        close(together[row, -len(run.logits) :], run.logits)
        close(uncached[row, -len(run.logits) :], run.logits)
    picks = [own for run in wanted for own in run.picks]
    assert [list(image.kept) for image in report.prefills[0].images] == picks
    assert len({len(own) for own in picks}) > 2
    assert 1 <= min(map(len, picks)) < max(map(len, picks)) < N


@pytest.mark.parametrize("use_cache", [True, False])
def test_generation_goes_on_from_what_is_left(model, prompt, singles, modules, method, use_cache):
    inputs = prompt(RAGGED)
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    with torch.no_grad():
        for row, alone in enumerate(singles(inputs)):
            wanted = replay(model, alone, method, modules, more=told[row, :-1].tolist())
            close(stepwise(out)[row], wanted.logits[-6:])


def test_no_weights_are_new_modules(model, prompt, tmp_path):
    inputs = prompt(RAGGED)
    path = str(ATPModules((1, 2)).save(tmp_path))
    with torch.no_grad():
        with prune(model, ATP(layers=(1, 2), rates=(0.25, 0.0625))) as report:
            wanted = model(**inputs).logits
        with prune(model, ATP(layers=(1, 2), rates=(0.25, 0.0625), weights=path)):
            assert torch.equal(model(**inputs).logits, wanted)
    assert 0 < report.visual_after < report.visual_before


# --- soft masks ---


@pytest.mark.parametrize("side", ["left", "right"])
def test_soft_masks_are_the_replay(model, prompt, singles, modules, method, side):
    inputs = prompt(RAGGED, side)
    with torch.no_grad(), soften(model, method, modules) as masks:
        together = model(**inputs, use_cache=False).logits
        kept = masks.kept
        assert torch.equal(model(**inputs).logits, together)
    runs = [replay(model, alone, method, modules, temperature=10.0) for alone in singles(inputs)]
    for row, run in enumerate(runs):
        close(together[row][inputs["attention_mask"][row].bool()], run.logits)
    close(kept.counts, torch.cat([run.counts for run in runs if len(run.counts)]))
    assert kept.sizes.tolist() == [N] * 5
    assert (kept.layers, kept.n_layers) == ((1, 2), 3)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_attention_takes_the_masks(make_model, prompt, attention):
    model, modules = make_model(attention=attention).float(), trained().float()
    inputs = prompt([[3, "I", 2, "I", 4]])
    rounded = inputs | {"pixel_values": inputs["pixel_values"].float()}
    method = ATP(layers=(1, 2), rates=(0.25, 0.0625), sample_weight=1.6)
    with torch.no_grad():
        plain = model(**rounded).logits[0]
        with soften(model, method, modules):
            got = model(**rounded).logits[0]
        # in float64 the masks are those of the replay, as tested above
        exact = make_model().double()
        lost = (plain - exact(**inputs).logits[0]).abs().max()
        with soften(exact, method, modules.double()):
            wanted = exact(**inputs).logits[0]
    # no more than twice what the model itself loses in float32
    assert (got - wanted).abs().max() <= 2 * lost


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_autocast(make_model, prompt, attention):
    model, modules = make_model(attention=attention).float(), trained().float()
    inputs = prompt(RAGGED)
    inputs["pixel_values"] = inputs["pixel_values"].float()
    real, method = inputs["attention_mask"].bool(), ATP(layers=(1, 2), rates=(0.25, 0.0625), sample_weight=1.6)

    def told():
        with soften(model, method, modules) as masks:
            return model(**inputs).logits[real].float().log_softmax(-1), masks.kept.counts

    plain = model(**inputs).logits[real].log_softmax(-1)
    exact, counts = told()
    with torch.autocast("cpu", torch.bfloat16):
        lost = (model(**inputs).logits[real].float().log_softmax(-1) - plain).abs().mean()
        rounded, rounded_counts = told()
    # no more than twice what the model itself loses
    assert (rounded - exact).abs().mean() <= 2 * lost
    assert (rounded_counts - counts).abs().max() < 0.5
    rounded.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in modules.parameters())


def test_hard_masks_are_what_dropping_gives(model, prompt, singles, modules, method):
    """The limit of a high temperature, at every token that is left."""
    inputs = prompt(RAGGED, "right")
    with torch.no_grad():
        with prune(model, method):
            dropped = model(**inputs).logits
        with soften(model, method, modules, temperature=1e8) as masks:
            soft = model(**inputs).logits
            counts = masks.kept.counts
    for row, alone in enumerate(singles(inputs)):
        kept = replay(model, alone, method, modules).kept
        close(soft[row, kept], dropped[row, -len(kept) :])
    with torch.no_grad(), prune(model, method) as report:
        model(**inputs)
    assert counts[:, -1].round().tolist() == [len(image.kept) for image in report.images]


def gradients(parameters, loss):
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def test_gradients_are_those_of_the_replay(model, prompt, singles, modules, method):
    inputs = prompt(RAGGED, "right")
    parameters = [*modules.parameters(), *model.parameters()]
    weights = torch.randn(64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with soften(model, method, modules) as masks:
        logits = model(**inputs).logits
        loss = (logits.log_softmax(-1) @ weights)[inputs["attention_mask"].bool()].mean() + ATPLoss()(masks.kept)
    found = gradients(parameters, loss)
    runs = [replay(model, alone, method, modules, temperature=10.0) for alone in singles(inputs)]
    counts = torch.cat([run.counts for run in runs if len(run.counts)])
    mean = (N + counts[:, 0] + counts[:, 1]) / 3
    depth, target = (counts / N * torch.tensor([1, 2])).sum(1).mean(), (mean - 0.25 * N).mean().abs()
    wanted = torch.cat([run.logits.log_softmax(-1) @ weights for run in runs]).mean() + 0.05 * depth + 0.2 * target
    close(loss, wanted)
    expected = gradients(parameters, wanted)
    n_modules = len([*modules.parameters()])
    assert all(gradient.abs().max() > 0 for gradient in found[:n_modules])
    for got, own in zip(found, expected, strict=True):
        assert (got is None) == (own is None)
        if own is not None:
            # the library's norms and rotations are in float32
            assert (got - own).abs().max() <= 1e-4 * own.abs().max() + 1e-7


def test_checkpointing_that_runs_hooks_again_is_refused(model, monkeypatch):
    layer = model.model.language_model.layers[0]
    # older transformers checkpoints the call of a layer, hooks and all
    monkeypatch.setattr(type(layer), "__call__", lambda self, *args, **kwargs: None, raising=False)
    monkeypatch.setattr(type(layer), "gradient_checkpointing", True)
    with pytest.raises(ValueError, match="runs hooks again"):
        check_recomputed(layer.train())
    check_recomputed(layer.eval())


def test_gradient_checkpointing_changes_nothing(model, prompt, modules, method, checkpointed_hooks):
    if checkpointed_hooks:
        pytest.skip("this transformers runs hooks again, which is refused")
    inputs = prompt(RAGGED, "right")
    labels = inputs["input_ids"].masked_fill((inputs["input_ids"] == IMAGE) | (inputs["input_ids"] == 0), IGNORED)
    parameters, found = [*modules.parameters(), *model.parameters()], []
    model.train()
    for _ in range(2):
        with soften(model, method, modules) as masks:
            loss = model(**inputs, labels=labels, use_cache=False).loss + ATPLoss()(masks.kept)
        found.append((loss, gradients(parameters, loss)))
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert torch.equal(found[0][0], found[1][0])
    for got, own in zip(found[1][1], found[0][1], strict=True):
        assert (own is None and got is None) or torch.equal(got, own)
    model.gradient_checkpointing_disable()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    with soften(model, method, modules), pytest.raises(ValueError, match="want gradient_checkpointing_kwargs="):
        model(**inputs, use_cache=False)


# --- what has a say ---


def answered(inputs, n_answer, seed):
    """Labels on the last tokens, which are others for each seed."""
    labels = torch.full_like(inputs["input_ids"], IGNORED)
    changed = inputs["input_ids"].clone()
    changed[:, -n_answer:] = torch.randint(
        6, 62, (len(labels), n_answer), generator=torch.Generator().manual_seed(seed)
    )
    labels[:, -n_answer:] = changed[:, -n_answer:]
    return inputs | {"input_ids": changed, "labels": labels}


def test_answers_have_no_say(model, prompt, modules, method):
    inputs = prompt([[2, "I", 7], ["I", 5]])
    with torch.no_grad():
        with soften(model, method, modules) as masks:
            counts = []
            for seed in (1, 2):
                model(**answered(inputs, 3, seed))
                counts.append(masks.kept.counts)
            model(**{**answered(inputs, 3, 1), "labels": None})
            unlabelled = masks.kept.counts
        assert torch.equal(*counts)
        assert not torch.equal(unlabelled, counts[0])
        for way in (method, FastV(keep_ratio=0.25, layer=1)):
            with prune(model, way) as report:
                for seed in (1, 2):
                    model(**answered(inputs, 3, seed))
                # as when the answer is yet to be told
                model(**{name: value[:, :-3] if value.ndim == 2 else value for name, value in inputs.items()})
            kept = [[image.kept for image in prefill.images] for prefill in report.prefills]
            assert kept[0] == kept[1] == kept[2]


def test_dropping_inside_the_decoder_trains_too(model, prompt, singles, modules, method):
    batch = answered(prompt([[2, "I", 7], ["I", 5], [8]]), 3, 1)
    with prune(model, method):
        loss = model(**batch).loss
    losses = []
    for row, alone in enumerate(singles(batch)):
        run = replay(model, alone, method, modules, n_prompt=len(alone["input_ids"][0]) - 3)
        for place, label in zip((-4, -3, -2), batch["labels"][row, -3:], strict=True):
            losses.append(-run.logits[place].log_softmax(-1)[label])
    wanted = torch.stack(losses).mean()
    close(loss, wanted)
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    for got, own in zip(gradients(parameters, loss), gradients(parameters, wanted), strict=True):
        assert (own is None and got is None) or (got - own).abs().max() <= 1e-4 * own.abs().max() + 1e-7


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_dropping_and_gradient_checkpointing(model, prompt, method, use_reentrant, checkpointed_hooks):
    if checkpointed_hooks:
        pytest.skip("this transformers runs hooks again, which is refused")
    batch, found = answered(prompt([[2, "I", 7], ["I", 5], [8]]), 3, 1), []
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    model.train()
    for _ in range(2):
        with prune(model, method):
            loss = model(**batch, use_cache=False).loss
        model.zero_grad()
        loss.backward()
        found.append((loss, [None if weight.grad is None else weight.grad.clone() for weight in parameters]))
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    assert torch.equal(found[0][0], found[1][0])
    for got, own in zip(found[1][1], found[0][1], strict=True):
        assert (own is None and got is None) or torch.equal(got, own)


# --- learning ---


def steps(model, modules, parameters, method, batch, n_steps=25):
    """Losses and mean tokens over some steps."""
    optimizer, found = torch.optim.AdamW(parameters, lr=2e-2), []
    goal = ATPLoss(keep_ratio=0.5)
    with soften(model, method, modules) as masks:
        for _ in range(n_steps):
            loss = model(**batch).loss + goal(masks.kept)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append((loss.item(), masks.kept.mean.mean().item()))
    return found


@pytest.mark.parametrize("frozen", [True, False])
def test_modules_learn_how_many_tokens_to_keep(model, prompt, frozen):
    model.float().requires_grad_(not frozen)
    batch = answered(prompt([[2, "I", 7], ["I", 5]]), 3, 1)
    batch["pixel_values"] = batch["pixel_values"].float()
    modules = ATPModules((1, 2), width=8)
    method = ATP(layers=(1, 2), rates=(0.25, 0.0625))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    parameters = [*modules.parameters()] + ([] if frozen else [*model.parameters()])
    found = steps(model, modules, parameters, method, batch)
    assert found[-1][0] < found[0][0]
    assert abs(found[-1][1] - N / 2) < 0.5 * abs(found[0][1] - N / 2)
    changed = [name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])]
    assert bool(changed) is not frozen


def test_modules_are_parameters_of_the_model(model, modules, tmp_path):
    model.atp = modules
    assert sum(name.startswith("atp.cuts") for name, _ in model.named_parameters()) == 20
    modules.save(tmp_path)
    assert torch.equal(ATPModules.load(tmp_path).cuts[1].embed.weight, model.atp.cuts[1].embed.weight)


# --- errors, and the model as it was ---


def test_text_alone_is_not_masked(model, prompt, modules, method):
    text = prompt([[5], [3]])
    with torch.no_grad():
        wanted = model(**text).logits
        with soften(model, method, modules) as masks:
            assert torch.equal(model(**text).logits, wanted)
            assert ATPLoss()(masks.kept).item() == 0


def test_the_model_is_left_as_it_was(watched, modules, method):
    model, inputs, check = watched
    with soften(model, method, modules) as masks:
        model(**inputs)
        assert masks.kept.counts.shape == (1, 2)
    check()
    broken = trained()
    broken.cuts[1].forward = functools.partial(exec, "raise RuntimeError('inside')")
    with soften(model, method, broken), pytest.raises((RuntimeError, TypeError)):
        model(**inputs)
    check()


def test_refusals(watched, modules, method):
    from transformers import DynamicCache

    model, inputs, check = watched
    with soften(model, method, modules) as masks:
        with pytest.raises(ValueError, match="want a forward pass first"):
            masks.kept  # noqa: B018
        with pytest.raises(ValueError, match="want no generate"):
            model.generate(**inputs)
        with pytest.raises(ValueError, match="is being pruned already"), prune(model, method):
            pass
        cache = DynamicCache(config=model.config.text_config)
        model(**{name: value[1:, -4:] for name, value in inputs.items() if value.ndim == 2}, past_key_values=cache)
        with pytest.raises(ValueError, match="want whole sequences"):
            model(input_ids=torch.tensor([[7]]), past_key_values=cache)
    for wrong, match in (
        ({"modules": ATPModules((1,))}, r"want modules for the layers \(1, 2\), got some for \(1,\)"),
        ({"method": FastV()}, "want a method with learned thresholds"),
        ({"temperature": 0.0}, "want a temperature above 0"),
    ):
        with pytest.raises(ValueError, match=match), soften(model, **{"method": method, "modules": modules, **wrong}):
            pass
    check()
