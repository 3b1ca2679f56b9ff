"""A tiny random sentence-transformers folder: a two-layer BERT over characters, no network needed."""

from __future__ import annotations

import string
from pathlib import Path


def save_tiny_encoder(folder: Path) -> Path:
    """Write the model under `folder` and return the path to load it from."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    backbone = folder / "backbone"
    backbone.mkdir(parents=True)
    tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)
    fast = BertTokenizerFast(tokenizer_object=tokenizer._tokenizer, model_max_length=64)
    fast.save_pretrained(backbone)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(backbone)
    transformer = Transformer(str(backbone))
    pooling = Pooling(16, pooling_mode="mean")
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder / "model"))
    return folder / "model"
