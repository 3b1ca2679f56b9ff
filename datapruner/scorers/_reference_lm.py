"""A reference of one's own: a byte-level BPE tokenizer and a small Llama, trained on given texts.

What is learned is arrays, as a scorer's `fit` returns them: the weights, and the tokenizer and configuration as the
bytes of their JSON. Initial weights, order of the sequences and rate of learning hang on the seed and the number of the
step alone, so that a run that goes on from a checkpoint ends in the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from datapruner.corpus.byte_pairs import learned_byte_pairs
from datapruner.scorers._causal_lm import LanguageModel, wrap
from datapruner.scorers._learner import WEIGHT, Learner, Training, with_head
from datapruner.scoring.workspace import Workspace
from prunekernels.extras import require
from prunekernels.io.model_loading import check_state, loading_errors

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

END = "<|endoftext|>"
_CONFIG, _TOKENIZER = "config", "tokenizer"


def train(texts: Sequence[str], training: Training, workspace: Workspace, name: str) -> dict[str, np.ndarray]:
    """What `restored` makes a model of; raises ValueError where the texts have fewer than 2 tokens.

    A run that was stopped goes on from what it kept in `workspace` under `name`.
    """
    kept = workspace.saved(name) or {}
    if _TOKENIZER in kept:
        tokenizer = require("tokenizers", "data").Tokenizer.from_str(kept[_TOKENIZER].tobytes().decode())
    else:
        tokenizer = learned_byte_pairs(texts, training.vocabulary, [END])
    settings = _settings(tokenizer.get_vocab_size(), training)
    about = {_CONFIG: _bytes(json.dumps(settings, sort_keys=True)), _TOKENIZER: _bytes(tokenizer.to_str())}
    stream = _stream(tokenizer, texts)
    if len(stream) < 4:
        raise ValueError("a reference that is trained wants text in both halves of the corpus, got none in one")
    learner = Learner(_new_model(settings, training.seed).to(training.device), stream, training)
    learner.run(kept, lambda arrays: workspace.save(name, about | arrays))
    return about | {key: array for key, array in learner.arrays().items() if key.startswith(WEIGHT)}


def restored(arrays: dict[str, np.ndarray], dtype: torch.dtype, device: str) -> LanguageModel:
    """The model that `train` made; raises ValueError for arrays that are not its."""
    transformers, tokenizers = require("transformers", "data"), require("tokenizers", "data")
    with loading_errors("a trained reference", "what training returned"):
        settings = json.loads(arrays[_CONFIG].tobytes())
        tokenizer = tokenizers.Tokenizer.from_str(arrays[_TOKENIZER].tobytes().decode())
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
        found = {name: torch.tensor(array) for name, array in arrays.items() if name.startswith(WEIGHT)}
        tensors = {name.removeprefix(WEIGHT): tensor for name, tensor in found.items()}
        check_state("a trained reference", model, with_head(tensors))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END)
    return wrap(model.to(device, dtype).eval(), fast)


def _stream(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    """All tokens, the end of text before each text and behind the last, int64."""
    end = tokenizer.token_to_id(END)
    encoded = tokenizer.encode_batch_fast([*texts], add_special_tokens=False)
    return torch.tensor([end, *(token for item in encoded for token in (*item.ids, end))])


def _settings(vocabulary: int, training: Training) -> dict[str, object]:
    # of about 64 numbers each, an even number for the rotation of positions
    heads = next(n for n in range(max(1, training.width // 64), 0, -1) if training.width % (2 * n) == 0)
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


def _new_model(settings: dict[str, object], seed: int) -> PreTrainedModel:
    transformers = require("transformers", "data")
    # the caller's own draws stay as they were
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)
