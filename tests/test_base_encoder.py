"""The reader of the default pruner's base encoder, on a file written from the description of its form."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from transformers import BertConfig, BertModel

from benchmarks.pruner.base_encoder import PARTS, Sizes, Weights, tensors_of

SIZES = Sizes(width=32, layers=2, heads=2, inner=64, words=6, positions=5, types=2)
PIECES = ["<s>", "<pad>", "é"]


def written() -> tuple[bytes, dict[str, np.ndarray]]:
    """The file, and what each tensor in it is."""
    draw = np.random.default_rng(0)
    wanted, stored = {}, {}

    def plain(name: str, size: int) -> None:
        wanted[name] = draw.normal(size=size).astype(np.float32)
        stored[name] = wanted[name].tobytes()

    def quantized(name: str, rows: int, columns: int) -> None:
        numbers = draw.integers(0, 16, (rows * columns // 32, 32), dtype=np.uint8)
        scales = draw.normal(size=len(numbers)).astype(np.float16)
        parts = [
            scale.tobytes() + (own[:16] | own[16:] << 4).tobytes() for scale, own in zip(scales, numbers, strict=True)
        ]
        stored[name] = b"".join(parts)
        wanted[name] = ((numbers.astype(np.float32) - 8) * scales.astype(np.float32)[:, None]).reshape(rows, columns)

    quantized("emb.word", SIZES.words, SIZES.width)
    plain("emb.pos", SIZES.positions * SIZES.width)
    plain("emb.type", SIZES.types * SIZES.width)
    plain("emb.ln.w", SIZES.width)
    plain("emb.ln.b", SIZES.width)
    for layer in range(SIZES.layers):
        for _, part, is_linear in PARTS:
            rows = SIZES.inner if part == "fi" else SIZES.width
            if is_linear:
                quantized(f"l{layer}.{part}.w", rows, SIZES.inner if part == "fo" else SIZES.width)
            else:
                plain(f"l{layer}.{part}.w", rows)
            plain(f"l{layer}.{part}.b", rows)
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4")
    head = (
        b"E5S1" + struct.pack("<i7if", 1, *SIZES, 1e-12) + struct.pack("<i5iQ", 32, len(PIECES), 0, 2, 1, 3, len(blob))
    )
    head += ends.tobytes() + np.zeros(len(PIECES), "<f4").tobytes() + blob + struct.pack("<iI", 1, 3) + b"abc"
    head += struct.pack("<i", len(stored))
    at = len(head) + sum(2 + len(name) + 5 + 16 for name in stored)
    table, body = b"", b""
    for name, data in stored.items():
        table += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 1, 1, at + len(body), len(data))
        body += data
    return head + table + body, wanted


def test_every_tensor_is_what_was_written() -> None:
    data, wanted = written()
    weights = Weights(data)
    assert weights.sizes == SIZES
    assert weights.pad == 1
    found = tensors_of(weights)
    assert len(found) == len(wanted)
    assert np.array_equal(found["embeddings.word_embeddings.weight"].numpy(), wanted["emb.word"])
    assert np.array_equal(found["encoder.layer.1.output.dense.weight"].numpy(), wanted["l1.fo.w"])
    assert np.array_equal(found["encoder.layer.0.attention.output.LayerNorm.bias"].numpy(), wanted["l0.aln.b"])
    config = BertConfig(
        vocab_size=6,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=5,
    )
    # names and shapes are those of the model
    BertModel(config, add_pooling_layer=False).load_state_dict(found, strict=True)


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with E5S1"):
        Weights(b"GGUF" + bytes(100))
