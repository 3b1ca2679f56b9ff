"""SparseVLM inside a model: each image judged by its row, what is recycled in the place of its group."""

from __future__ import annotations

import dataclasses

import torch

from tests.tokenpruner.conftest import build, encode
from tokenpruner import prune
from tokenpruner.methods.sparsevlm import SparseVLM

METHOD = SparseVLM(n_keep=5, layers=(0, 1), stage_counts=(8, 5))


def test_each_image_of_a_batch_is_judged_by_its_row(singles):
    """Published: the first row chooses for all."""
    model, rows = build(), [[2, "I", 3], [6, "I", 2, "I", 4], [4], ["I"]]
    for side in ("left", "right"):
        inputs = encode(rows, side)
        with torch.no_grad(), prune(model, METHOD) as report:
            together = model(**inputs).logits
            alone = [model(**row).logits[0] for row in singles(inputs)]
        for row, own in enumerate(alone):
            torch.testing.assert_close(together[row, -len(own) :], own, rtol=0, atol=2e-5)
        batch, *others = report.prefills
        assert [image.kept for image in batch.images] == [image.kept for one in others for image in one.images]
        assert {len(image.kept) for image in batch.images} == {5}


def test_a_recycled_token_is_the_mean_of_its_group():
    """What enters the layer behind a cut: means, at the places of centres, the kept ones bit for bit."""
    model, inputs = build(), encode([[2, "I", 6]])
    seen, entering = [], []

    @dataclasses.dataclass(frozen=True)
    class Watched(SparseVLM):
        def merge(self, context, picks):
            merge = super().merge(context, picks)
            seen.append((context, picks, merge))
            return merge

    layer = model.model.language_model.layers[1]
    method = Watched(n_keep=6, layers=(0,), stage_counts=(1,))
    with torch.no_grad(), prune(model, method) as report:
        handle = layer.register_forward_pre_hook(lambda module, args: entering.append(args[0]))
        model(**inputs)
    handle.remove()
    ((given, picks, merge),), (hidden,) = seen, entering
    assert hidden.shape[1] == 2 + 6 + 6
    assert report.images[0].kept == tuple(picks.tolist())
    for place, pick in enumerate(picks.tolist()):
        members = (merge.target == place).nonzero().flatten()
        wanted = given.hidden[members].double().mean(0) if len(members) > 1 else given.hidden[pick]
        torch.testing.assert_close(hidden[0, 2 + place].double(), wanted.double(), rtol=0, atol=1e-6)
    assert (merge.target[merge.target >= 0].bincount() > 1).any()


def test_raters_are_judged_by_what_entered():
    """At every cut: the embeddings of all of the image and of the text, not what layers made of them."""
    model, inputs, seen = build(), encode([[2, "I", 6]]), []

    @dataclasses.dataclass(frozen=True)
    class Watched(SparseVLM):
        def select(self, context):
            seen.append(context)
            return super().select(context)

    with torch.no_grad(), prune(model, Watched(n_keep=5, layers=(0, 1), stage_counts=(8, 5))):
        model(**inputs)
    embeds = model.get_input_embeddings()(inputs["input_ids"])[0]
    features = torch.cat([*model.model.get_image_features(inputs["pixel_values"]).pooler_output])
    text = [0, 1, *range(18, 24)]
    for given in seen:
        assert torch.equal(given.embeds, features)
        assert torch.equal(given.text_embeds, embeds[text])
    assert torch.equal(*(METHOD.raters(given) - given.columns.max() for given in seen))
    assert [given.n_tokens for given in seen] == [16, 8]


def test_gradients_reach_what_is_recycled():
    model, inputs = build(), encode([[2, "I", 6]])
    seen = []

    def note(module, args, output):
        output.retain_grad()
        seen.append(output)

    model.model.language_model.layers[0].register_forward_hook(note, prepend=True)
    with prune(model, SparseVLM(n_keep=6, layers=(0,), stage_counts=(1,), recycle=1.0)) as report:
        model(**inputs, use_cache=False).logits[0, -1].sum().backward()
    gone = [2 + place for place in range(16) if place not in report.images[0].kept]
    assert (seen[0].grad[0, gone].abs().sum(-1) > 0).all()


def test_tokens_that_pass_layers_by_are_no_text():
    """Of two stages the second one is told of the words alone, though the skipped tokens are there."""
    model, inputs, seen = build(), encode([[2, "I", 3]]), []

    @dataclasses.dataclass(frozen=True)
    class Watched(SparseVLM):
        def select(self, context):
            seen.append(context.text.tolist())
            return super().select(context)

    with torch.no_grad(), prune(model, Watched(n_keep=5, layers=(0, 1), stage_counts=(8, 5), mode="skip")):
        model(**inputs)
    assert seen == [[0, 1, 18, 19, 20]] * 2


def test_in_a_chain_words_are_compared_with_what_came_in():
    """Behind a method that merges on the way in: with the means that entered, of the tokens that did."""
    from tokenpruner.methods.chain import Chain
    from tokenpruner.methods.pool import Pool

    model, inputs, seen = build(), encode([[2, "I", 6], ["I", 4]]), []

    @dataclasses.dataclass(frozen=True)
    class Watched(SparseVLM):
        def select(self, context):
            seen.append(context)
            return super().select(context)

    inside = Watched(n_keep=3, layers=(0,), stage_counts=(1,))
    entering = []
    layer = model.model.language_model.layers[0]
    handle = layer.register_forward_hook(lambda module, args, output: entering.append(args[0]))
    with torch.no_grad(), prune(model, Chain((Pool(keep_ratio=0.25), inside))) as report:
        model(**inputs)
    handle.remove()
    assert report.visual_after == 6
    for row, (given, n_text) in enumerate(zip(seen, (6, 4), strict=True)):
        assert (given.size, given.n_entered, given.n_tokens) == (16, 4, 4)
        own = entering[0][row, -n_text - 4 :]
        assert torch.equal(given.embeds, own[:4])
        assert torch.equal(given.text_embeds[-n_text:], own[4:])
