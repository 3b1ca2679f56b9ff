"""Inside the decoder: what cannot be pruned is refused with the way out, and the model is left as it was."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from tests.tokenpruner.caches import cache_from, with_cache
from tests.tokenpruner.inside_decoder.layer_replay import Cut, replay
from tokenpruner import LayerContext, LayerMethod, Stage, prepare, prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop

GREEDY = {"do_sample": False, "max_new_tokens": 5}


@dataclasses.dataclass(frozen=True)
class Cutting(LayerMethod):
    """Keeps the first tokens before some layers, without reading attention."""

    layers: tuple[int, ...] = (1,)
    keep_ratio: float | None = 0.25
    n: int = 4

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        return tuple(Stage(layer, self.keep_ratio) for layer in self.layers)

    def keep(self, context: LayerContext, n: int) -> torch.Tensor:
        return torch.arange(n)


@dataclasses.dataclass(frozen=True)
class AsManyAs(Cutting):
    """Keeps as many as the number of the image says: the data decides."""

    keep_ratio: float | None = None

    def select(self, context: LayerContext) -> torch.Tensor:
        return torch.arange(context.image * self.n)


@dataclasses.dataclass(frozen=True)
class Broken(Cutting):
    """Fails, or says nonsense, while it chooses."""

    says: str = "raises"

    def importance(self, context: LayerContext) -> torch.Tensor:
        value = {"raises": 1 / (self.says != "raises"), "nan": torch.nan}.get(self.says, 1.0)
        return torch.full((context.n_tokens + (self.says == "long"),), value)

    def keep(self, context: LayerContext, n: int) -> torch.Tensor:
        return torch.tensor([3, 3]) if self.says == "twice" else LayerMethod.keep(self, context, n)


def test_the_data_may_decide_how_many_stay(model, prompt):
    with torch.no_grad(), prune(model, AsManyAs()) as report:
        out = model(**prompt([["I", 2, "I", 1], [2, "I", 1]]))
    # an image may lose all of its tokens
    assert [len(image.kept) for image in report.images] == [0, 4, 0]
    assert report.prefills[0].layers == ((35, 19), (7, 3), (7, 3))
    assert out.logits.shape[1] == 7
    assert [layer.keys.shape[-2] for layer in cache_from(out).layers] == [35, 7, 7]


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ((0,), "want a layer from 1 to 2 of the 3 that the decoder has, got 0: before the first layer"),
        ((3,), "want a layer from 1 to 2 of the 3 that the decoder has, got 3"),
        ((2, 1), "want the layers of the stages to ascend, got 1 after 2"),
        ((1, 1), "want the layers of the stages to ascend, got 1 after 1"),
    ],
    ids=str,
)
def test_layers_that_there_are_not(watched, layers, why):
    model, _, check = watched
    with pytest.raises(ValueError, match=why), prune(model, Cutting(layers=layers)):
        pytest.fail("entered")
    check()


def test_too_few_layers_for_the_stages(model):
    with pytest.raises(ValueError, match="want at least 4 decoder layers for 4 stages, got 3"):
        prune(model, PyramidDrop()).__enter__()


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (Broken(says="nan"), "importance of token 0 of image 0 of row 0 before layer 1 is NaN"),
        (Broken(says="long"), r"want importance float32 \[16\], got torch.float32 \[17\]"),
        (Broken(says="twice"), "want distinct ascending int64 indices below 16"),
        (Broken(), "division by zero"),
    ],
    ids=str,
)
def test_a_method_that_fails(watched, method, why):
    """Nothing is left for the next pass, in the same `with` and behind it."""
    model, inputs, check = watched
    with prune(model, method) as report:
        for _ in range(2):
            with pytest.raises((ValueError, ZeroDivisionError), match=why):
                model(**inputs)
        text = {name: inputs[name][1:, -4:] for name in ("input_ids", "attention_mask")}
        assert model(**text).logits.shape[1] == 4
        assert not report.prefills
    check()


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_layer_that_fails(watched, where):
    model, inputs, check = watched

    def fail(*_):
        raise RuntimeError("on purpose")

    with prune(model, FastV(keep_ratio=0.25)):
        handle = model.model.language_model.layers[where].register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            model.generate(**inputs, **GREEDY)
        handle.remove()
        assert model(**inputs).logits.shape[1] == 9
    check()


def test_the_model_is_left_as_found(watched):
    model, inputs, check = watched
    with prune(model, FastV(keep_ratio=0.25)):
        model.generate(**inputs, **GREEDY)
    check()
    config = model.model.language_model.layers[1].self_attn.config
    assert config is model.model.language_model.config
    assert config._attn_implementation == "sdpa"


def test_prepare_says_where_to_go(model, prompt):
    with pytest.raises(ValueError, match=r"FastV works inside the model, .* inside `with prune\(model, method\)`"):
        prepare(model, FastV(), **prompt([["I", 1]]))


def test_a_text_model():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=3, num_attention_heads=2)
    with pytest.raises(ValueError, match="LlamaForCausalLM has no visual tokens"):
        prune(LlamaForCausalLM(config), FastV()).__enter__()


def test_attention_that_cannot_be_read(watched):
    """A layer with attention of its own kind serves methods that read none."""
    model, inputs, check = watched

    class Own(torch.nn.Module):
        """Stands for attention that looks up no function."""

        def __init__(self, inner):
            super().__init__()
            self.inner = [inner]

        def forward(self, *args, **kwargs):
            return self.inner[0](*args, **kwargs)

    layer = model.model.language_model.layers[1]
    attention, layer.self_attn = layer.self_attn, Own(layer.self_attn)
    why = r"layer 1: the attention of LlamaDecoderLayer cannot be read: .* such as DivPrune, need none"
    with pytest.raises(ValueError, match=why):
        prune(model, FastV()).__enter__()
    with prune(model, Cutting(layers=(2,))):
        assert model(**inputs).logits.shape[1] == 9
    layer.self_attn = attention
    check()


def test_static_caches_and_chunks(watched):
    from transformers import StaticCache

    model, inputs, check = watched
    with prune(model, FastV()):
        with pytest.raises(ValueError, match="a static cache has its mask made before"):
            model.generate(**inputs, **GREEDY, cache_implementation="static", disable_compile=True)
        with pytest.raises(ValueError, match="got prefill_chunk_size=8"):
            model.generate(**inputs, **GREEDY, prefill_chunk_size=8)
        with pytest.raises(ValueError, match="a static cache has its mask made before"):
            model(**inputs, **with_cache(model, StaticCache(model.config.text_config, max_cache_len=40)))
    check()


def test_hidden_image_tokens(model, prompt):
    inputs = prompt([[1, "I", 3], ["I", 4]])
    inputs["attention_mask"][1, 5] = 0
    with prune(model, FastV()), pytest.raises(ValueError, match="row 1: want attention_mask 1 on image tokens, got 0"):
        model(**inputs)


@pytest.mark.parametrize("use_cache", [True, False])
def test_keeping_everything_is_bit_equal(model, prompt, use_cache):
    inputs = prompt([[2, "I", 3], ["I", 4, "I", 2], [5]])
    kind = {**GREEDY, "use_cache": use_cache, "return_dict_in_generate": True, "output_logits": True}
    told = model.generate(**inputs, **kind)
    for method in (FastV(keep_ratio=1.0), PyramidDrop(keep_ratio=1.0, n_stages=3)):
        with prune(model, method) as report:
            again = model.generate(**inputs, **kind)
        assert torch.equal(again.sequences, told.sequences)
        assert torch.equal(torch.stack(again.logits), torch.stack(told.logits))
        assert report.visual_before == report.visual_after > 0
        assert report.flops_after == report.flops_before


def test_text_goes_through_untouched(model, prompt):
    inputs = prompt([[3], [5]])
    plain = model.generate(**inputs, **GREEDY, output_logits=True, return_dict_in_generate=True)
    with prune(model, FastV(keep_ratio=0.1)) as report:
        again = model.generate(**inputs, **GREEDY, output_logits=True, return_dict_in_generate=True)
    assert torch.equal(torch.stack(plain.logits), torch.stack(again.logits))
    assert not report.prefills
    assert type(cache_from(again).layers[2]).__name__ == "DynamicLayer"


def test_eager_and_sdpa_pick_the_same(make_model, prompt):
    inputs, outs, kept = prompt([[2, "I", 3], ["I", 4, "I", 2], [5]]), [], []
    inputs["pixel_values"] = inputs["pixel_values"].float()
    for attention in ("eager", "sdpa"):
        # in float64 transformers' own eager attention turns left padding into NaN
        model = make_model(attention=attention).float()
        with prune(model, PyramidDrop(n_stages=3)) as report:
            out = model.generate(**inputs, **GREEDY, output_logits=True, return_dict_in_generate=True)
        outs.append(torch.stack(out.logits))
        kept.append([image.kept for image in report.images])
    assert kept[0] == kept[1]
    torch.testing.assert_close(outs[0], outs[1], rtol=0, atol=2e-5)


def test_two_threads_at_once(model, prompt):
    """One model and one method, two prompts, again and again."""
    cuts, rows = [Cut(2, 0.25, 1)], [[[2, "I", 3]], [["I", 1, "I", 4]]]
    prompts = [prompt(row, seed=number) for number, row in enumerate(rows)]
    wanted = [replay(model, inputs, cuts).logits for inputs in prompts]
    wrong = []

    def run(number):
        for _ in range(10):
            with torch.no_grad():
                got = model(**prompts[number]).logits[0]
            if got.shape != wanted[number].shape or (got - wanted[number]).abs().max() > 2e-5:
                wrong.append(number)

    with prune(model, FastV(0.25, positions="keep")):
        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_dropped_nan_stays_away_from_the_others(model, prompt):
    """A token that was dropped fills up shorter rows: it must not reach anything there."""
    inputs = prompt([["I", 3], [4, "I", "I", 2]])

    def poison(module, args, kwargs):
        hidden = args[0].clone()
        hidden[0, inputs["attention_mask"].shape[1] - 4] = torch.nan
        return (hidden, *args[1:]), kwargs

    handle = model.model.language_model.layers[1].register_forward_pre_hook(poison, with_kwargs=True)
    with torch.no_grad(), prune(model, Cutting(layers=(1,))):
        assert model(**inputs).logits[0, -7:].isfinite().all()
    handle.remove()
