"""A joint encoder as one ONNX file: written by `export`, read again by the labeler `provence`, run by onnxruntime.

The exported folder holds model.onnx, the tokenizer and a config.json with the layout, the threshold and the window,
so that it labels as the checkpoint did. Numbers agree with the float32 model to 1e-4. torch's older exporter writes
the file: it is in every torch from 2.6 on and needs the package onnx alone.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from contextpruner.checkpoint import Checkpoint
from contextpruner.extras import require
from contextpruner.loading import quiet

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from contextpruner.labelers.provence import Provence

FILE, MODEL_TYPE, OPSET = "model.onnx", "contextpruner_onnx", 17
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


def export(labeler: Provence, folder: Path | str) -> Path:
    """Write `labeler`'s model into `folder`, made if need be; returns it. Raises ValueError if that is not float32."""
    require("onnx", "onnx")
    loaded, target = labeler.loaded, Path(folder)
    if not isinstance(loaded.model, torch.nn.Module) or labeler.precision != "float32":
        raise ValueError(f"want a float32 model of torch to export, got {loaded.model} in {labeler.precision}")
    target.mkdir(parents=True, exist_ok=True)
    example = torch.full((2, 8), loaded.tokenizer.sep_token_id or 0)
    inputs = (example, torch.ones_like(example), torch.zeros_like(example))[: 3 if loaded.has_types else 2]
    names = INPUTS[: len(inputs)]
    with quiet(), torch.inference_mode(), warnings.catch_warnings():
        # tracing warns of every shape that it reads; the test holds other shapes to the same numbers
        warnings.simplefilter("ignore")
        torch.onnx.export(
            loaded.model.cpu(),
            inputs,
            target / FILE,
            input_names=[*names],
            output_names=["keep", "rank"],
            dynamic_axes={name: {0: "rows", 1: "tokens"} for name in (*names, "keep")} | {"rank": {0: "rows"}},
            opset_version=OPSET,
            dynamo=False,
        )
    # the labeler goes on where it was
    loaded.model.to(loaded.device)
    loaded.tokenizer.save_pretrained(target)
    said = {
        "model_type": MODEL_TYPE,
        "layout": loaded.layout,
        "default_threshold": loaded.threshold,
        "max_length": loaded.window,
        "token_types": loaded.has_types,
    }
    (target / "config.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    return target


def is_exported(checkpoint: Checkpoint) -> bool:
    """Whether `export` wrote this folder."""
    return checkpoint.config.get("model_type") == MODEL_TYPE


def load_onnx(checkpoint: Checkpoint) -> OnnxEncoder:
    """The model of a folder that `export` wrote."""
    runtime = require("onnxruntime", "onnx")
    path = checkpoint.folder / FILE
    if not path.is_file():
        raise ValueError(f"{checkpoint.folder}: want {FILE}, got none")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return OnnxEncoder(runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
