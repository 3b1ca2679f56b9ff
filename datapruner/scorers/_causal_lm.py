"""A causal language model from a folder or hub id: the losses and errors of tokens, hidden states, continuations.

Where the logits are head(hidden) and nothing else, which one small forward pass at loading time finds out, the
vocabulary is done by `token_stats` and no logits are stored; models that cap or scale their logits are asked
for the logits themselves, in smaller batches. Pads stand on the right, where no token before them sees them, so that
no mask is needed. Safetensors only; no code of a model folder is ever run.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from datapruner.corpus.token_counter import load_tokenizer
from prunekernels.el2n import el2n
from prunekernels.extras import require
from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.model_loading import check_no_code, load_model, loading_errors
from prunekernels.token_stats import token_stats

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# logits of a model that needs its own are held whole: at most so many numbers at a time
_LOGITS = 1 << 26

Statistic = Literal["nll", "el2n"]


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model; `plain_head` says that its logits are head(hidden)."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    plain_head: bool

    @property
    def is_on_cpu(self) -> bool:
        return self.model.device.type == "cpu"

    @property
    def width(self) -> int:
        """Numbers of a hidden state."""
        return self.model.config.get_text_config().hidden_size

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        if not texts:
            return []
        return self.tokenizer([*texts], add_special_tokens=False, verbose=False)["input_ids"]

    def per_token(
        self, windows: Sequence[Sequence[int]], statistic: Statistic, firsts: Sequence[int]
    ) -> list[torch.Tensor]:
        """For each window `statistic` of its tokens from number firsts[i] >= 1 on, given those before; float32, CPU.

        "nll" is -log p in nats, "el2n" the length of p - onehot over the vocabulary.
        """
        if not self.plain_head:
            step = max(1, _LOGITS // (max(map(len, windows)) * self.vocabulary))
            batches = [slice(start, start + step) for start in range(0, len(windows), step)]
            return [found for some in batches for found in self._from_logits(windows[some], statistic, firsts[some])]
        ids = self._padded(windows)
        hidden = self._hidden(ids)
        head = self.model.get_output_embeddings()
        # pads, last tokens, which predict nothing, and those that nobody asks for do not reach the vocabulary
        lengths = torch.tensor([len(window) for window in windows], device=ids.device)
        predicted = torch.arange(1, ids.shape[1], device=ids.device)
        begins = torch.tensor([*firsts], device=ids.device)
        predicts = (predicted < lengths[:, None]) & (predicted >= begins[:, None])
        stats = token_stats(hidden[:, :-1][predicts], head.weight, ids[:, 1:][predicts], head.bias)
        counts = [max(0, len(window) - first) for window, first in zip(windows, firsts, strict=True)]
        return list(getattr(stats, statistic).cpu().split(counts))

    def hidden(self, windows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """The last hidden states of each window, float32 [tokens, d]."""
        found = self._hidden(self._padded(windows))
        return [states[: len(window)].float() for states, window in zip(found, windows, strict=True)]

    def last_logits(self, windows: Sequence[Sequence[int]], said: Sequence[int], words: Sequence[int]) -> torch.Tensor:
        """The logits of the tokens `words` behind each window and `said`, float32 [windows, words] on the CPU."""
        whole = [[*window, *said] for window in windows]
        ids, rows = self._padded(whole), torch.arange(len(whole), device=self.model.device)
        at = torch.tensor([len(window) - 1 for window in whole], device=self.model.device)
        if self.plain_head:
            head = self.model.get_output_embeddings()
            logits = torch.nn.functional.linear(
                self._hidden(ids)[rows, at], head.weight[[*words]], None if head.bias is None else head.bias[[*words]]
            )
            return logits.float().cpu()
        # of each batch only the places that are asked for
        wanted, inverse = at.unique(return_inverse=True)
        logits = self.model(input_ids=ids, use_cache=False, logits_to_keep=wanted).logits[rows, inverse]
        return logits[:, [*words]].float().cpu()

    def continued(self, prompts: Sequence[Sequence[int]], n: int) -> torch.Tensor:
        """The `n` likeliest next tokens behind each of `prompts`, all of one length, one by one; [prompts, n]."""
        ids, cache, found = torch.tensor([*prompts], device=self.model.device), None, []
        # releases before 5.24 know the cache by another name
        name = "cache" if "cache" in inspect.signature(self.model.forward).parameters else "past_key_values"
        for step in range(n):
            made = self.model(input_ids=ids, use_cache=step < n - 1, logits_to_keep=1, **{name: cache})
            ids, cache = made.logits[:, -1:].argmax(-1), made.get(name)
            found.append(ids)
        return torch.cat(found, 1).cpu()

    def _from_logits(
        self, windows: Sequence[Sequence[int]], statistic: Statistic, firsts: Sequence[int]
    ) -> list[torch.Tensor]:
        ids = self._padded(windows)
        logits = self.model(input_ids=ids, use_cache=False).logits
        found = []
        for row, (window, first) in enumerate(zip(windows, firsts, strict=True)):
            own, labels = logits[row, first - 1 : len(window) - 1].float(), ids[row, first : len(window)]
            if statistic == "el2n":
                found.append(el2n(own, labels).cpu())
            else:
                found.append(-own.log_softmax(-1).gather(1, labels[:, None]).flatten().cpu())
        return found

    def _hidden(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state

    def _padded(self, windows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Token ids [B, T], filled up on the right."""
        longest = max(map(len, windows))
        return torch.tensor([[*window, *[0] * (longest - len(window))] for window in windows], device=self.model.device)


def load(name: str, dtype: torch.dtype, device: str) -> LanguageModel:
    """The model and tokenizer `name`, a folder or hub id; raises ValueError where they cannot be loaded."""
    checkpoint = checked_checkpoint(name)
    model = load_model(checkpoint, "AutoModelForCausalLM", dtype).to(device).eval()
    return wrap(model, load_tokenizer(checkpoint.folder))


def wrap(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    """A model that is loaded already, with its tokenizer."""
    vocabulary = model.config.get_text_config().vocab_size
    return LanguageModel(model, tokenizer, vocabulary, _has_plain_head(model, vocabulary))


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
