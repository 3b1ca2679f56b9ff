"""A joint encoder's folder with its weights in 8 bits and its word embeddings in 8 or 4: a quarter or less of its size.

What stands there is read like any checkpoint (`load_joint`) and can run in every precision; biases, norms and the two
heads stay in fp16. Word embeddings are most of a small multilingual model, and the least of its arithmetic.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from contextpruner.models.joint_encoder import layout_of
from contextpruner.models.onnx_export import KIND
from contextpruner.models.quantized_tensors import SCALE, Bits, quantized
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.outputs import atomic_folder

# what of a checkpoint goes along: settings, tokenizer, calibration
TAKEN = ("config.json", "tokenizer*", "vocab.*", "*.model", "special_tokens_map.json", "added_tokens.json",
         "calibration.json", "README.md")  # fmt: skip
# heads are a thousandth of the weights and decide every number
HEADS = ("pruning_head.", "token_classifier.", "classifier.", "ranking_model.classifier.")


def export_quantized(name: str, folder: Path | str, *, embedding_bits: Bits = 8, overwrite: bool = False) -> Path:
    """Write the checkpoint at the path or hub id `name` so into `folder`; returns that.

    Raises ValueError where it is no joint encoder, or quantized already.
    """
    from safetensors.torch import save_file

    checkpoint = find_checkpoint(name)
    if layout_of(checkpoint) is None:
        raise ValueError(f"{checkpoint.folder}: want a Provence, XProvence or OpenProvence checkpoint")
    if any(name.endswith(SCALE) for name in checkpoint.shapes):
        raise ValueError(f"{checkpoint.folder}: want a checkpoint in floating point, got one that is quantized")
    tensors = checkpoint.tensors()
    bits: dict[str, Bits] = {
        name: embedding_bits if "word_embeddings" in name or "tok_embeddings" in name else 8
        for name, tensor in tensors.items()
        if tensor.ndim == 2 and not name.startswith(HEADS)
    }
    made = quantized(tensors, bits)
    with atomic_folder(Path(folder), KIND, overwrite=overwrite, inputs=[checkpoint.folder]) as target:
        for file in sorted({file for pattern in TAKEN for file in checkpoint.folder.glob(pattern)}):
            shutil.copyfile(file, target / file.name)
        save_file({name: _stored(tensor) for name, tensor in made.items()}, target / "model.safetensors")
    return Path(folder)


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
