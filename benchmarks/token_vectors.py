"""Token vectors of texts by any encoder, with the attention that each token receives in the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Encoded:
    """`vectors` float32 [T, D] of length 1, `attention` float32 [T], and `lengths` int64 [N], text after text."""

    vectors: torch.Tensor
    attention: torch.Tensor
    lengths: torch.Tensor


@torch.inference_mode()
def encode(model: str, texts: Sequence[str], max_tokens: int, batch_size: int = 16) -> Encoded:
    """The first `max_tokens` tokens of each of `texts`; special tokens are read and left out."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    # the form of attention that says its weights
    encoder = AutoModel.from_pretrained(model, attn_implementation="eager").eval()
    found: list[tuple[torch.Tensor, torch.Tensor]] = [(torch.empty(0), torch.empty(0))] * len(texts)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for first in range(0, len(texts), batch_size):
        places = order[first : first + batch_size]
        coded = tokenizer(
            [texts[place] for place in places],
            padding=True, truncation=True, max_length=max_tokens + 2, return_tensors="pt",
            return_special_tokens_mask=True,
        )  # fmt: skip
        is_own = coded.pop("special_tokens_mask") == 0
        said = encoder(**coded, output_attentions=True)
        vectors = torch.nn.functional.normalize(said.last_hidden_state.float(), dim=-1)
        # what padding attends to is nobody's
        given = said.attentions[-1].float().mean(1) * coded["attention_mask"][..., None]
        received = given.sum(1)
        for row, place in enumerate(places):
            found[place] = vectors[row, is_own[row]].clone(), received[row, is_own[row]].clone()
    lengths = torch.tensor([len(vectors) for vectors, _ in found], dtype=torch.int64)
    return Encoded(torch.cat([vectors for vectors, _ in found]), torch.cat([given for _, given in found]), lengths)
