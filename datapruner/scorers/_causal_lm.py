"""A causal language model from a folder or hub id, asked for one thing: the loss of every token given those before.

Where the logits are head(hidden) and nothing else, which one small forward pass at loading time finds out, the
vocabulary is done by `token_stats` and no logits are stored; models that cap or scale their logits are asked
for the logits themselves, in smaller batches. Safetensors only; no code of a model folder is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from datapruner.corpus.token_counter import load_tokenizer
from prunekernels.extras import require
from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.model_loading import check_no_code, load_model, loading_errors
from prunekernels.token_stats import token_stats

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# logits of a model that needs its own are held whole: at most so many numbers at a time
_LOGITS = 1 << 26


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model; `plain_head` says that its logits are head(hidden)."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    plain_head: bool

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        if not texts:
            return []
        return self.tokenizer([*texts], add_special_tokens=False, verbose=False)["input_ids"]

    def losses(self, windows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """For each window of at least 2 tokens the losses in nats of all but its first, float32 on the CPU."""
        if not self.plain_head:
            step = max(1, _LOGITS // (max(map(len, windows)) * self.vocabulary))
            return [loss for i in range(0, len(windows), step) for loss in self._own(windows[i : i + step])]
        ids, mask = self._padded(windows)
        hidden = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        head = self.model.get_output_embeddings()
        # neither pads nor last tokens, which predict nothing, reach the vocabulary
        predicts, targets = mask[:, 1:].bool(), ids[:, 1:]
        nll = token_stats(hidden[:, :-1][predicts], head.weight, targets[predicts], head.bias).nll
        return list(nll.cpu().split([len(window) - 1 for window in windows]))

    def _own(self, windows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        ids, mask = self._padded(windows)
        logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        found = []
        for row, window in zip(range(len(windows)), windows, strict=True):
            own = logits[row, : len(window) - 1].float().log_softmax(-1)
            found.append(-own.gather(1, ids[row, 1 : len(window), None]).flatten().cpu())
        return found

    def _padded(self, windows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask [B, T], padded on the right."""
        longest = max(map(len, windows))
        rows = [[*window, *[0] * (longest - len(window))] for window in windows]
        mask = [[1] * len(window) + [0] * (longest - len(window)) for window in windows]
        device = self.model.device
        return torch.tensor(rows, device=device), torch.tensor(mask, device=device)


def load(name: str, dtype: torch.dtype, device: str) -> LanguageModel:
    """The model and tokenizer `name`, a folder or hub id; raises ValueError where they cannot be loaded."""
    checkpoint = checked_checkpoint(name)
    model = load_model(checkpoint, "AutoModelForCausalLM", dtype).to(device).eval()
    vocabulary = model.config.get_text_config().vocab_size
    return LanguageModel(model, load_tokenizer(checkpoint.folder), vocabulary, _has_plain_head(model, vocabulary))


def checked_checkpoint(name: str) -> Checkpoint:
    """The folder of the model `name`; raises ValueError for code, pickles and broken files, before any is loaded."""
    checkpoint = find_checkpoint(name)
    check_no_code(checkpoint)
    # reads the header of each file of weights
    _ = checkpoint.shapes
    return checkpoint


def longest_window(name: str) -> int | None:
    """How many positions the model has, where its configuration says so."""
    checkpoint = checked_checkpoint(name)
    with loading_errors(checkpoint.folder, "the configuration of a causal language model"):
        config = require("transformers", "data").AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
    return getattr(config.get_text_config(), "max_position_embeddings", None)


@torch.inference_mode()
def _has_plain_head(model: PreTrainedModel, vocabulary: int) -> bool:
    """Compare head(hidden) with the model's logits on a few tokens."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or model.base_model is model:
        return False
    ids = (torch.arange(8, device=model.device) * 7919 % vocabulary)[None]
    hidden = getattr(model.base_model(input_ids=ids, use_cache=False), "last_hidden_state", None)
    if hidden is None or hidden.shape[-1] != head.in_features:
        return False
    logits = model(input_ids=ids, use_cache=False).logits
    return logits.shape[-1] == head.out_features and torch.allclose(head(hidden), logits, rtol=1e-4, atol=1e-5)
