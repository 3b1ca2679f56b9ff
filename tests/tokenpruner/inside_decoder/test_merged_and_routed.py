"""Cuts that merge and tokens that come back, on decoders that are told more than LLaVA's is."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import close, fed, generate, singles
from tokenpruner import prune
from tokenpruner.decoder.kept_tokens import KeptTokens
from tokenpruner.decoder.merged_tokens import MergedTokens
from tokenpruner.inside_decoder.deepstack import DeepStack
from tokenpruner.methods.ftp import FTP
from tokenpruner.methods.sparsevlm import SparseVLM

ROWS = [[2, "I", 3], ["I", 4, "I", 2], [5]]
METHODS = [
    pytest.param(SparseVLM(0.5, layers=(0,), stage_counts=(1,)), id="merged"),
    pytest.param(FTP(0.7), id="routed"),
]


@pytest.mark.parametrize("name", families.params(["llava_next", "qwen3_vl", "gemma3"]))
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_a_batch_equals_its_rows_and_decoding_a_pass(name, method):
    feed = fed(name)
    inputs = feed.encode(ROWS)
    with prune(feed.model, method) as report:
        together = feed.model(**inputs).logits
        for row, own in enumerate(singles(feed, ROWS, inputs)):
            alone = feed.model(**own).logits[0]
            close(together[row, -len(alone) :], alone)
        recomputed, decoded = (
            generate(feed.model, inputs, max_new_tokens=3, use_cache=cached) for cached in (False, True)
        )
        close(recomputed, decoded)
    layers = report.prefills[0].layers
    assert sum(layers[1]) < sum(layers[0])


def test_deepstack_features_merge_as_tokens_do():
    """Two rows, of which columns 1 to 3 and 0 to 1 are visual; the first one's tokens 1 and 3 go into 1."""
    visual = torch.tensor([[False, True, True, True], [True, True, False, False]])
    values = torch.arange(10.0).view(5, 2)
    stack = DeepStack.of({"deepstack_visual_embeds": [values, 10 * values], "visual_pos_masks": visual}, 1)
    merged = MergedTokens(torch.tensor([1, 3]), torch.tensor([1, 1]), torch.ones(2))
    found = stack.with_merged(merged, KeptTokens.whole(torch.ones(2, 4).bool())).values
    assert found[0].tolist() == [[2, 3], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert found[1].tolist() == [[20, 30], [20, 30], [40, 50], [60, 70], [80, 90]]
    # behind a cut the same tokens stand elsewhere: column 0 of what is left was column 1
    kept, _ = KeptTokens.whole(torch.ones(2, 4).bool()).cut(torch.tensor([[True, False, False, False]] * 2))
    found = stack.with_merged(MergedTokens(torch.tensor([0, 2]), torch.tensor([0, 0]), torch.ones(2)), kept).values
    assert found[0].tolist() == [[2, 3], [2, 3], [4, 5], [6, 7], [8, 9]]
