"""What is not a head over the vocabulary: classifiers, retrieval, losses outside of the model, metrics of a trainer."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
import transformers

from prunekernels import registry
from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import close, singles
from tests.tokenpruner.adapters.family_inputs import Feed, Tensors
from tests.tokenpruner.adapters.tiny_config import draw
from tokenpruner import Method, TokenMethod, pool_embeddings, prune
from tokenpruner.decoder.whole_outputs import Cut
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.stride import Stride

ROWS = [[2, "I", 3], [4], ["I", 2, "I", 1]]
METHODS = [DivPrune(0.25), FastV(0.25, layer=1), DivPrune(0.25, positions="keep")]
FOLDER = "tokenpruner.methods"
BEFORE = [name for name in registry.names(FOLDER) if issubclass(registry.load(FOLDER, name, TokenMethod), Method)]
PAGES = [[2, "I", 3], ["I", 1, "I", 2]]


def classifier(name: str) -> tuple[torch.nn.Module, Feed]:
    feed = families.fresh(name)
    config = feed.model.config
    config.num_labels, config.pad_token_id, config.text_config.pad_token_id = 3, 0, 0
    kind = type(feed.model).__name__.replace("ConditionalGeneration", "SequenceClassification")
    model = getattr(transformers, kind)(config).eval()
    draw(model, 0)
    return model, feed


def test_whole_outputs_by_hand():
    # columns 0 and 3 of four are left in the first row, 2 alone in the second, whose first two are padding
    cut = Cut(torch.tensor([[0, 3], [0, 2]]), torch.tensor([[True, True], [False, True]]), 4)
    values = torch.tensor([[[1.0], [2.0]], [[9.0], [3.0]]])
    assert cut.whole(values)[..., 0].tolist() == [[1, 1, 1, 2], [0, 0, 3, 3]]
    assert cut.left(torch.arange(1.0, 9).view(2, 4, 1))[..., 0].tolist() == [[1, 4], [0, 7]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_classifier_pools_at_the_last_token(method, side):
    """On either side of padding, and as a row alone, whose pooled state is that of the cut sequence."""
    model, feed = classifier("gemma3")
    inputs, seen = feed.encode(ROWS, side), []
    model.model.language_model.norm.register_forward_hook(lambda *given: seen.append(given[-1]))
    with torch.no_grad(), prune(model, method) as report:
        got = model(**inputs).logits
        alone = [model(**own).logits for own in singles(feed, ROWS, inputs)]
    assert report.visual_after < report.visual_before
    close(got, torch.cat(alone))
    # what the last layer's norm puts out for a row alone ends with its last token
    close(got, torch.cat([model.score(hidden[:, -1]) for hidden in seen[1:]]).detach())


def test_a_classifier_learns():
    model, feed = classifier("gemma3")
    with prune(model, DivPrune(0.25)):
        out = model(**feed.encode(ROWS, "right"), labels=torch.tensor([0, 1, 2]))
    torch.testing.assert_close(out.loss, torch.nn.functional.cross_entropy(out.logits, torch.tensor([0, 1, 2])))
    out.loss.backward()
    assert model.score.weight.grad.abs().max() > 0


def by_pages(inputs: Tensors) -> Tensors:
    """Patches of each picture by itself, as ColQwen2's processor hands them over; it knows no types of tokens."""
    pages = inputs["pixel_values"].unflatten(0, (len(inputs["image_grid_thw"]), -1))
    return {key: value for key, value in inputs.items() if key != "mm_token_type_ids"} | {"pixel_values": pages}


def retriever(name: str) -> tuple[torch.nn.Module, Feed, Callable[[Tensors], Tensors]]:
    """A model of late interaction, how its language model is fed, and what it wants of that."""
    feed = families.fresh({"ColPali": "paligemma", "ColQwen2": "qwen2_vl"}[name])
    config = getattr(transformers, f"{name}Config")(vlm_config=feed.model.config.to_dict(), embedding_dim=8)
    if name == "ColPali":
        config.vlm_config = feed.model.config
    model = getattr(transformers, f"{name}ForRetrieval")(config).eval()
    draw(model, 0)
    return model, feed, by_pages if name == "ColQwen2" else dict


def embedded(model: torch.nn.Module, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    made = model.custom_text_proj(hidden)
    return made / made.norm(dim=-1, keepdim=True) * mask[..., None]


class EngineColQwen2(transformers.Qwen2VLModel):
    """As colpali-engine has it: a merger with a projection of its own, which puts out a tensor alone."""

    def __init__(self, config):
        super().__init__(config)
        self.custom_text_proj = torch.nn.Linear(config.text_config.hidden_size, 8)

    def forward(self, pixel_values=None, **kwargs):
        pixels = None if pixel_values is None else pixel_values.flatten(0, 1)
        out = super().forward(pixel_values=pixels, output_hidden_states=True, return_dict=True, **kwargs)
        return embedded(self, out.last_hidden_state, kwargs["attention_mask"])


class EngineColPali(transformers.PaliGemmaPreTrainedModel):
    """As colpali-engine has it: around a model for generation, of which it reads the last layer's hidden states."""

    def __init__(self, config):
        super().__init__(config)
        self.model = transformers.PaliGemmaForConditionalGeneration(config)
        self.custom_text_proj = torch.nn.Linear(config.text_config.hidden_size, 8)
        self.post_init()

    def forward(self, **kwargs):
        out = self.model(output_hidden_states=True, **kwargs)
        return embedded(self, out.hidden_states[-1], kwargs["attention_mask"])


@pytest.mark.parametrize(
    ("kind", "family", "n_kept"), [(EngineColPali, "paligemma", 16), (EngineColQwen2, "qwen2_vl", 4)]
)
@pytest.mark.parametrize("method", [DivPrune(0.25), FastV(0.25, layer=1), "visionzip:keep_ratio=0.25"])
def test_models_of_colpali_engine(kind, family, n_kept, method):
    """They multiply what they make by the mask that they were given, as long as the row was."""
    feed = families.fresh(family)
    model = kind(feed.model.config).eval()
    draw(model, 0)
    inputs = feed.encode(PAGES, "left")

    def taken(own: Tensors) -> Tensors:
        pixels = own["pixel_values"]
        return own | {"pixel_values": pixels[None] if family == "qwen2_vl" else pixels}

    with torch.no_grad(), prune(model, method) as report:
        got = model(**taken(inputs))
        alone = [model(**taken(own))[0] for own in singles(feed, PAGES, inputs)]
    assert report.prefills[0].tokens_after == (5 + n_kept, 3 + 2 * n_kept)
    assert [len(own) for own in alone] == [*report.prefills[0].tokens_after]
    for row, own in zip(got, alone, strict=True):
        close(row[-len(own) :], own)
        assert not row[: len(row) - len(own)].any()


@functools.cache
def held(name: str) -> tuple[torch.nn.Module, Feed, Callable[[Tensors], Tensors]]:
    return retriever(name)


@pytest.mark.parametrize(("name", "n_kept"), [("ColPali", 16), ("ColQwen2", 4)])
@pytest.mark.parametrize("method", [DivPrune(0.25), FastV(0.25, layer=1), *BEFORE])
@pytest.mark.parametrize("side", ["left", "right"])
def test_late_interaction_embeddings_of_the_tokens_left(name, n_kept, method, side):
    """Of any method before the decoder, those that read the vision tower among them."""
    (model, feed, taken), rows = held(name), PAGES
    inputs = feed.encode(rows, side)
    if isinstance(method, str):
        method = registry.load(FOLDER, method, Method)(keep_ratio=0.25)
        if "joint_attention" in method.needs:
            with pytest.raises(ValueError, match="no class token"), prune(model, method):
                pass
            return
    with torch.no_grad(), prune(model, method) as report:
        got = model(**taken(inputs)).embeddings
        alone = [model(**taken(own)).embeddings[0] for own in singles(feed, rows, inputs)]
    counts = report.prefills[0].tokens_after
    assert counts == (5 + n_kept, 3 + 2 * n_kept)
    assert [len(own) for own in alone] == [*counts]
    for row, own in zip(got, alone, strict=True):
        close(row[-len(own) :], own)
        close(own.norm(dim=-1), torch.ones(len(own)))
        # and zeros in place of padding, as the model itself has them
        assert not row[: len(row) - len(own)].any()


@pytest.mark.parametrize("name", ["ColPali", "ColQwen2"])
@pytest.mark.parametrize("method", ["visionzip", "vispruner:important=1.0", "holov", "divprune"])
def test_a_page_keeps_what_its_language_model_would(name, method):
    """Told by the vision-language model inside, which encodes its pictures itself."""
    model, feed, taken = held(name)
    inputs, found = feed.encode(PAGES, "left"), []
    for own, given in ((model, taken(inputs)), (model.vlm, inputs)):
        with torch.no_grad(), prune(own, f"{method}{',' if ':' in method else ':'}n_keep=5") as report:
            own(**given)
        found.append([image.kept for image in report.prefills[0].images])
    assert found[0] == found[1]
    assert {len(kept) for kept in found[0]} == {5}


def test_a_tower_that_raised_says_nothing_of_the_next_pages():
    model, feed, taken = held("ColQwen2")
    inputs, visual = feed.encode(PAGES, "left"), model.vlm.visual
    with torch.no_grad(), prune(model, "visionzip:n_keep=2"):
        whole = model(**taken(inputs)).embeddings
        broken = visual.merger.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
        with pytest.raises(RuntimeError, match="broken"):
            model(**taken(inputs))
        broken.remove()
        assert torch.equal(model(**taken(inputs)).embeddings, whole)


@pytest.mark.parametrize("name", ["ColPali", "ColQwen2"])
def test_pruned_pages_are_pooled_without_their_padding(name):
    pytest.importorskip("scipy")
    model, feed, taken = held(name)
    inputs = feed.encode(PAGES, "left")
    with torch.no_grad(), prune(model, "divprune:keep_ratio=0.5") as report:
        embeddings = model(**taken(inputs)).embeddings
        pooled = pool_embeddings(embeddings, 3, protected=1)
    counts = report.prefills[0].tokens_after
    assert len({*counts}) > 1
    assert [len(own) for own in pooled.vectors] == [1 + (n - 1) // 3 for n in counts]
    for row, own, n in zip(embeddings, pooled.vectors, counts, strict=True):
        assert torch.equal(own[0], row[-n])


def test_a_fused_head_outside_of_the_model(model, prompt):
    """Trainers with a fused loss take the hidden states of the inner model and shift the labels that they have."""
    inputs = prompt([[2, "I", 3], [4, "I", 6]], "right")
    labels = inputs["input_ids"].masked_fill((inputs["attention_mask"] == 0) | (inputs["input_ids"] == 5), -100)
    with prune(model, DivPrune(0.25)):
        wanted = model(**inputs, labels=labels, use_cache=False).loss
        hidden = model.model(**inputs, use_cache=False).last_hidden_state
    assert hidden.shape[:2] == labels.shape
    logits = model.lm_head(hidden[:, :-1]).flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten())
    torch.testing.assert_close(loss, wanted.to(loss.dtype), rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(one, model.lm_head.weight, retain_graph=True)[0] for one in (loss, wanted)]
    # transformers' own loss is in float32
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", [DivPrune(0.25), FastV(0.25, layer=1)])
def test_logits_are_aligned_with_labels_in_evaluation(model, prompt, method):
    """So that what predicts a label stands in the column before it; training and generate() get the tokens left."""
    inputs = prompt([[2, "I", 3], [4, "I", 6]], "right")
    labels = inputs["input_ids"].masked_fill((inputs["attention_mask"] == 0) | (inputs["input_ids"] == 5), -100)
    with torch.no_grad(), prune(model, method):
        out = model(**inputs, labels=labels)
        short = model(**inputs).logits
        model.train()
        trained = model(**inputs, labels=labels).logits
    assert out.logits.shape[:2] == labels.shape
    assert trained.shape == short.shape == (2, 4 + 4 + 6, 64)
    loss = torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(loss, out.loss.to(loss.dtype), rtol=1e-6, atol=0)
    # the last token of each row
    assert torch.equal(out.logits[torch.tensor([0, 1]), inputs["attention_mask"].sum(1) - 1], trained[:, -1])


def test_skipped_layers_leave_all_tokens(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with torch.no_grad(), prune(model, FastV(0.25, layer=1, mode="skip")):
        assert model.model(**inputs).last_hidden_state.shape[1] == 21
        assert model(**inputs, labels=inputs["input_ids"]).logits.shape[1] == 21


def test_a_bare_model_is_left_short(model, prompt):
    """One that is pruned by itself has nobody behind it who counts on the length."""
    inner, inputs = model.model, prompt([[2, "I", 3]])
    with torch.no_grad(), prune(inner, Stride(0.25)):
        assert inner(**inputs).last_hidden_state.shape[1] == 9
