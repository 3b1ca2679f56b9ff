"""A reference of one's own: a byte-level BPE tokenizer and a small Llama, trained on given texts.

What is learned is arrays, as a scorer's `fit` returns them: the weights, and the tokenizer and configuration as the
bytes of their JSON. Initial weights, order of the sequences and rate of learning hang on the seed and the number of the
step alone, so that a run that goes on from a checkpoint ends in the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from datapruner.scorers._causal_lm import LanguageModel, wrap
from prunekernels.extras import require
from prunekernels.io.model_loading import check_state, loading_errors

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

END = "<|endoftext|>"
RATE, LEAST_RATE, WARM_UP, DECAY = 2e-3, 2e-4, 0.05, 0.1
# tokens of a step, and how often a text is learned at most: beyond four times it pays little (arXiv:2305.16264)
STEP_TOKENS, MOST_EPOCHS = 8192, 4
_CONFIG, _TOKENIZER, _WEIGHT = "config", "tokenizer", "weight."


@dataclass(frozen=True)
class Training:
    """Sizes: tokens of a sequence, of the vocabulary, of a hidden state, layers, and tokens that are learned from."""

    window: int
    vocabulary: int
    width: int
    layers: int
    tokens: int
    seed: int
    device: str

    def check(self) -> None:
        if self.vocabulary < 257 or self.width < 8 or self.width % 8 or self.layers < 1 or self.tokens < 1:
            raise ValueError(
                "a reference that is trained wants a vocabulary of at least 257, a width that 8 divides, at least one "
                f"layer and one token, got {self.vocabulary}, {self.width}, {self.layers} and {self.tokens}"
            )

    @property
    def characters(self) -> int:
        """How many characters of text hold the tokens."""
        return 6 * self.tokens


def train(texts: Sequence[str], training: Training) -> dict[str, np.ndarray]:
    """What `restored` makes a model of; raises ValueError where the texts have fewer than 2 tokens."""
    tokenizer = _trained_tokenizer(texts, training.vocabulary)
    stream = _stream(tokenizer, texts)
    if len(stream) < 3:
        raise ValueError("a reference that is trained wants text in both halves of the corpus, got none in one")
    model = _new_model(tokenizer.get_vocab_size(), training).to(training.device)
    _learn(model, stream, training)
    weights = {name: tensor.float().cpu().numpy() for name, tensor in model.state_dict().items()}
    # the head is the table of the embeddings
    weights.pop("lm_head.weight")
    arrays = {_CONFIG: _bytes(json.dumps(_settings(tokenizer.get_vocab_size(), training), sort_keys=True))}
    arrays[_TOKENIZER] = _bytes(tokenizer.to_str())
    return arrays | {f"{_WEIGHT}{name}": array for name, array in weights.items()}


def restored(arrays: dict[str, np.ndarray], dtype: torch.dtype, device: str) -> LanguageModel:
    """The model that `train` made; raises ValueError for arrays that are not its."""
    transformers, tokenizers = require("transformers", "data"), require("tokenizers", "data")
    with loading_errors("a trained reference", "what training returned"):
        settings = json.loads(arrays[_CONFIG].tobytes())
        tokenizer = tokenizers.Tokenizer.from_str(arrays[_TOKENIZER].tobytes().decode())
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
        found = {name: torch.tensor(array) for name, array in arrays.items() if name.startswith(_WEIGHT)}
        tensors = {name.removeprefix(_WEIGHT): tensor for name, tensor in found.items()}
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        check_state("a trained reference", model, tensors)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END)
    return wrap(model.to(device, dtype).eval(), fast)


def _trained_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    library = require("tokenizers", "data")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _stream(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    """All tokens, the end of text before each text and behind the last, int64."""
    end = tokenizer.token_to_id(END)
    encoded = tokenizer.encode_batch_fast([*texts], add_special_tokens=False)
    return torch.tensor([end, *(token for item in encoded for token in (*item.ids, end))])


def _settings(vocabulary: int, training: Training) -> dict[str, object]:
    heads = max(1, training.width // 64)
    return {
        "vocab_size": vocabulary,
        "hidden_size": training.width,
        "intermediate_size": 8 * round(training.width / 3),
        "num_hidden_layers": training.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": training.window,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _new_model(vocabulary: int, training: Training) -> PreTrainedModel:
    transformers = require("transformers", "data")
    # the caller's own draws stay as they were
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_settings(vocabulary, training)))


def _learn(model: PreTrainedModel, stream: torch.Tensor, training: Training) -> None:
    size = min(training.window, len(stream) - 1)
    sequences = stream[: (len(stream) - 1) // size * size].view(-1, size)
    together = max(1, min(STEP_TOKENS // size, len(sequences)))
    steps = max(1, math.ceil(min(training.tokens, MOST_EPOCHS * len(stream)) / (together * size)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=DECAY)
    model.train()
    for step, ids in enumerate(_batches(sequences, together, steps, training.seed)):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps)
        ids = ids.to(model.device)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _batches(sequences: torch.Tensor, together: int, steps: int, seed: int) -> Iterator[torch.Tensor]:
    """The sequences of each step: every epoch goes through all in an order of its own."""
    per_epoch = max(1, len(sequences) // together)
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        if not place:
            order = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(seed * 1000 + epoch))
        yield sequences[order[place * together : (place + 1) * together]]


def _rate(step: int, steps: int) -> float:
    """The rate of learning: up to RATE, then down half a cosine."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return RATE * (step + 1) / warm
    return LEAST_RATE + (RATE - LEAST_RATE) * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)
