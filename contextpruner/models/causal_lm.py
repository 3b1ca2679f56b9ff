"""A causal language model and the losses that it gives to tokens, -ln p(token | the tokens before it) in nats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from contextpruner.models.batches import Row, batches, distinct, pad_id
from contextpruner.models.loading import Precision, batch_size_for, max_tokens_of, model_of, to_device, tokenizer_of
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.token_stats import token_stats

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class CausalLM(NamedTuple):
    """A checkpoint, ready to run; `first` is what the tokenizer puts before every text, `window` what it reads."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head: torch.nn.Linear
    first: tuple[int, ...]
    window: int
    precision: Precision

    @torch.inference_mode()
    def mean_nll(self, rows: Sequence[tuple[Row, int]], batch_size: int) -> list[float]:
        """The mean loss of the last tokens of each row, as many as stand beside it; 0 where there are none."""
        # the same tokens may be scored in part or whole
        different, places = distinct([Row(row.ids, scored) for row, scored in rows])
        found = np.zeros(len(different))
        device = self.head.weight.device
        for batch in batches(different, batch_size_for(self.precision, batch_size), pad_id(self.tokenizer)):
            ids, mask = batch.ids.to(device), batch.mask.to(device)
            hidden = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            sizes = [different[row].second for row in batch.rows]
            ends = [len(different[row].ids) for row in batch.rows]
            states = torch.cat([hidden[i, e - n - 1 : e - 1] for i, (n, e) in enumerate(zip(sizes, ends, strict=True))])
            labels = torch.cat([ids[i, e - n : e] for i, (n, e) in enumerate(zip(sizes, ends, strict=True))])
            losses = token_stats(states, self.head.weight, labels, self.head.bias).nll.double().cpu()
            for row, part in zip(batch.rows, losses.split(sizes), strict=True):
                found[row] = float(part.mean()) if len(part) else 0
        return found[places].tolist()


def load_causal_lm(name: str, precision: Precision, device: str | None, max_length: int) -> CausalLM:
    """The model at the path or hub id `name`, reading up to `max_length` tokens at a time."""
    checkpoint = find_checkpoint(name)
    model = model_of(checkpoint, "CausalLM")
    tokenizer = tokenizer_of(checkpoint, model.config)
    head = model.get_output_embeddings()
    _check_head(str(checkpoint.folder), model, head)
    # an end of text alone is not what a text begins with
    put = tokenizer.backend_tokenizer.encode("", add_special_tokens=True).ids[:1]
    first = tuple(put) if put == [tokenizer.bos_token_id] else ()
    placed = to_device(model, precision, device)
    window = max_tokens_of(model.config.get_text_config(), max_length)
    return CausalLM(placed, tokenizer, head, first, window, precision)


@torch.inference_mode()
def _check_head(name: str, model: PreTrainedModel, head: torch.nn.Module) -> None:
    """Refuse models that cap or scale their logits: head(hidden) would be another distribution."""
    ids = (torch.arange(8) * 7919 % model.config.get_text_config().vocab_size)[None]
    model.eval()
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model(input_ids=ids, use_cache=False).logits
    if not isinstance(head, torch.nn.Linear) or not torch.allclose(head(hidden), logits, rtol=1e-4, atol=1e-5):
        raise ValueError(f"{name}: want a model whose logits are its head times the last hidden state")
