"""A joint encoder out of one ONNX file, run by onnxruntime: a folder that `onnx_export` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from prunekernels.extras import require
from prunekernels.io.checkpoint import Checkpoint
from prunekernels.io.model_loading import loading_errors

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FILE, MODEL_TYPE = "model.onnx", "contextpruner_onnx"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, eq=False)
class OnnxEncoder:
    """A session that answers as a `JointEncoder` does."""

    session: InferenceSession

    def __call__(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`keep` [B, T] and `rank` [B], float32."""
        given = (input_ids, attention_mask, token_type_ids)
        feed = {name: value.numpy() for name, value in zip(INPUTS, given, strict=True) if value is not None}
        keep, rank = self.session.run(None, feed)
        return torch.from_numpy(keep), torch.from_numpy(rank)


def is_exported(checkpoint: Checkpoint) -> bool:
    """Whether `export_onnx` wrote this folder."""
    return checkpoint.config.get("model_type") == MODEL_TYPE


def load_onnx(checkpoint: Checkpoint) -> OnnxEncoder:
    """The model of a folder that `export_onnx` wrote."""
    runtime = require("onnxruntime", "onnx")
    path = checkpoint.folder / FILE
    if not path.is_file():
        raise ValueError(f"{checkpoint.folder}: want {FILE}, got none")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with loading_errors(path, "a model that onnxruntime can load"):
        return OnnxEncoder(runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
