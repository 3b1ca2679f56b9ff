"""A sequence-to-sequence model of a folder or hub id, say T5, asked for the first word that it says of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from datapruner.corpus.token_counter import load_tokenizer
from datapruner.scorers._causal_lm import checked_checkpoint
from prunekernels.io.model_loading import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncoderDecoder:
    """A loaded model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def is_on_cpu(self) -> bool:
        return self.model.device.type == "cpu"

    @property
    def ends(self) -> list[int]:
        """What stands behind the text that is read."""
        return [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        if not texts:
            return []
        return self.tokenizer([*texts], add_special_tokens=False, verbose=False)["input_ids"]

    def last_logits(self, windows: Sequence[Sequence[int]], said: Sequence[int], words: Sequence[int]) -> torch.Tensor:
        """The logits of `words` as what is said of each window behind `said`, float32 [windows, words], CPU."""
        device, longest = self.model.device, max(map(len, windows))
        ids = torch.tensor([[*window, *[0] * (longest - len(window))] for window in windows], device=device)
        lengths = torch.tensor([len(window) for window in windows], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]
        start = torch.tensor([[self.model.config.decoder_start_token_id, *said]] * len(windows), device=device)
        made = self.model(input_ids=ids, attention_mask=mask.long(), decoder_input_ids=start, use_cache=False)
        return made.logits[:, -1, [*words]].float().cpu()


def load_encoder_decoder(name: str, dtype: torch.dtype, device: str) -> EncoderDecoder:
    """The model and tokenizer `name`; raises ValueError where they cannot be loaded."""
    checkpoint = checked_checkpoint(name)
    model = load_model(checkpoint, "AutoModelForSeq2SeqLM", dtype).to(device).eval()
    if model.config.decoder_start_token_id is None:
        raise ValueError(f"{name}: want a model that says which token its decoder begins with, got none")
    return EncoderDecoder(model, load_tokenizer(checkpoint.folder))
