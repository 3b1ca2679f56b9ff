"""Positions, masks and gathering of a shortened sequence, worked by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from tokenpruner import prune
from tokenpruner.before_decoder.shortened_inputs import Tokens, gather
from tokenpruner.decoder.attention_masks import past_and_new, with_removed
from tokenpruner.decoder.cache_layers import PrunedPrefix
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.position_ids import cut_position_ids, full_position_ids
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.stride import Stride


def mask_of(*rows):
    return torch.tensor([[letter == "1" for letter in row] for row in rows])


def test_positions_by_hand():
    where = torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]])
    dropped = mask_of("01100", "00010")
    index = torch.tensor([[0, 3, 4], [0, 2, 4]])
    assert cut_position_ids(where, index, dropped, "keep").tolist() == [[0, 3, 4], [0, 0, 2]]
    assert cut_position_ids(where, index, dropped, "compact").tolist() == [[0, 1, 2], [0, 0, 1]]


def test_positions_of_several_rows_a_token():
    where = torch.arange(30).view(3, 2, 5)
    index = torch.tensor([[0, 4], [1, 2]])
    cut = cut_position_ids(where, index, mask_of("01110", "10011"), "keep")
    assert cut.tolist() == [[[0, 4], [6, 7]], [[10, 14], [16, 17]], [[20, 24], [26, 27]]]
    with pytest.raises(ValueError, match="wants one position a token"):
        cut_position_ids(where, index, mask_of("01110", "10011"), "compact")


def test_positions_given_and_made_up():
    device = torch.device("cpu")
    assert full_position_ids(None, (2, 3), 4, device).tolist() == [[4, 5, 6], [4, 5, 6]]
    assert full_position_ids(torch.tensor([[7, 8]]), (2, 2), 0, device).tolist() == [[7, 8], [7, 8]]
    with pytest.raises(ValueError, match=r"want position_ids \[2, 2\], got \[1, 3\]"):
        full_position_ids(torch.tensor([[7, 8, 9]]), (2, 2), 0, device)


def test_masks_by_hand():
    # eight tokens were cut to five slots; one followed, two are new
    prefix = PrunedPrefix.of(mask_of("11111", "00111"), torch.zeros(2, dtype=torch.int64), 0)
    past = Past(physical=6, removed=3, prefix=prefix)
    whole = mask_of("1" * 11, "00001111" + "011")
    past_mask, mask = past_and_new(whole, past, (2, 2), torch.device("cpu"))
    assert past_mask.tolist() == mask_of("111111", "001110").tolist()
    assert mask.tolist() == mask_of("11", "11").tolist()
    assert with_removed(past_mask, mask, 3).tolist() == mask_of("00011111111", "00000111011").long().tolist()


def test_gather_by_hand():
    embeds = torch.arange(1.0, 13).view(2, 6, 1)
    where = torch.arange(6).expand(2, 6)
    tokens = Tokens(embeds, mask_of("111111", "011110"), where)
    out = gather(tokens, mask_of("011000", "001100"), "keep")
    assert out.embeds[..., 0].tolist() == [[1, 4, 5, 6], [0, 0, 8, 11]]
    assert out.mask.tolist() == mask_of("1111", "0011").tolist()
    assert out.position_ids.tolist() == [[0, 3, 4, 5], [0, 0, 1, 4]]
    compact = gather(tokens, mask_of("011000", "001100"), "compact")
    assert compact.position_ids.tolist() == [[0, 1, 2, 3], [0, 0, 1, 2]]


@pytest.mark.parametrize("base", ["before", "inside"])
def test_methods_score_outside_of_autocast(model, prompt, base):
    """Half precision would make ties, which picks must not hang on."""
    seen = []

    @dataclass(frozen=True)
    class Before(Stride):
        def keep(self, context, n):
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().keep(context, n)

    @dataclass(frozen=True)
    class Inside(FastV):
        def importance(self, context):
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().importance(context)

    method = Before(keep_ratio=0.5) if base == "before" else Inside(keep_ratio=0.5, layer=1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), prune(model.float(), method):
        inputs = prompt([[2, "I", 3]])
        model(**inputs | {"pixel_values": inputs["pixel_values"].float()})
    assert seen == [False]
