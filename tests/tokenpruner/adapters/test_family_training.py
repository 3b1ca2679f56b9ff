"""Every image-text-to-text architecture trains through prune(): its loss is over the tokens that are left."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import RAGGED, fed
from tokenpruner import prune
from tokenpruner.decoder.loss_labels import has_replaceable_loss
from tokenpruner.methods.random import Random
from tokenpruner.models import adapter

IGNORED = -100


def kept_columns(inputs, report, row):
    """The real columns of a row that were not dropped."""
    kept = inputs["attention_mask"][row].bool().clone()
    for image in report.images:
        if image.row == row:
            own = torch.tensor(image.columns)
            kept[own] = False
            kept[own[list(image.kept)]] = True
    return kept.nonzero().flatten()


@pytest.mark.parametrize("name", families.params())
def test_the_loss_is_over_what_is_left(name):
    feed = fed(name)
    inputs = feed.encode(RAGGED, "right")
    unlabelled = (inputs["attention_mask"] == 0) | (inputs["input_ids"] == feed.token)
    labels = inputs["input_ids"].masked_fill(unlabelled, IGNORED)
    found = adapter.find(feed.model)
    if not has_replaceable_loss(found.model, found.backbone):
        with prune(feed.model, Random(keep_ratio=0.5)), pytest.raises(ValueError, match="computes its loss by itself"):
            feed.model(**inputs, labels=labels)
        pytest.skip("this release of the model computes its loss by itself, which is refused")
    with prune(feed.model, Random(keep_ratio=0.5)) as report:
        out = feed.model(**inputs, labels=labels, use_cache=False)
    assert report.visual_after < report.visual_before
    losses = []
    for row in range(len(RAGGED)):
        columns = kept_columns(inputs, report, row)
        # in evaluation they stand where their labels do
        told = out.logits[row, columns].detach().double().log_softmax(-1)
        own = labels[row, columns]
        losses += [-told[place - 1, own[place]] for place in range(1, len(own)) if own[place] != IGNORED]
    torch.testing.assert_close(out.loss.detach().double(), torch.stack(losses).mean(), rtol=1e-5, atol=0)
    out.loss.backward()
    grad = feed.model.get_input_embeddings().weight.grad
    feed.model.zero_grad()
    assert grad.isfinite().all()
    assert grad.abs().max() > 0
