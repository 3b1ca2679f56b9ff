"""Tiny random causal language models and classifiers with a byte-level tokenizer, as folders on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY = 256


def save_tiny_model(folder: Path, kind: str = "llama") -> Path:
    """A random model of two layers, with weights large enough for errors to show."""
    import transformers

    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    if kind == "llama":
        config = transformers.LlamaConfig(**sizes)
    elif kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=2048, initializer_range=0.3
        )
    elif kind == "phi":
        # its head has a bias
        config = transformers.PhiConfig(**{**sizes, "num_key_value_heads": 4})
    elif kind == "gemma2":
        config = transformers.Gemma2Config(**sizes, head_dim=8, final_logit_softcapping=2.0)
    elif kind == "granite":
        config = transformers.GraniteConfig(**sizes, logits_scaling=3.0)
    elif kind == "cohere":
        config = transformers.CohereConfig(**sizes, logit_scale=0.25)
    else:
        raise ValueError(f"no tiny model of kind {kind!r}")
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    if (bias := getattr(model.get_output_embeddings(), "bias", None)) is not None:
        torch.nn.init.normal_(bias)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def save_tiny_classifier(folder: Path, classes: int = 3) -> Path:
    """A random BERT of one layer for texts of at most 48 bytes, with the classes c0, c1, ..."""
    import transformers
    from tokenizers import processors

    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=48,
        initializer_range=0.3,
        pad_token_id=0,
        id2label={number: f"c{number}" for number in range(classes)},
        label2id={f"c{number}": number for number in range(classes)},
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = _tokenizer()
    first = str(tokenizer.convert_ids_to_tokens(1))
    tokenizer.add_special_tokens({"pad_token": tokenizer.convert_ids_to_tokens(0), "cls_token": first})
    # a text without bytes is one token long
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(f"{first} $A", special_tokens=[(first, 1)])
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """Every UTF-8 byte is a token; text of n bytes has n of them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)
