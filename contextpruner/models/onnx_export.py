"""A joint encoder written as one ONNX file, which the labeler `provence` reads again (`onnx_encoder`).

The exported folder holds model.onnx, the tokenizer and a config.json with the layout, the threshold and the window,
so that it labels as the checkpoint did. Numbers agree with the float32 model to 1e-4. torch's older exporter writes
the file: it is in every torch from 2.6 on and needs the package onnx alone.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch

from contextpruner.models.onnx_encoder import FILE, INPUTS, MODEL_TYPE
from contextpruner.models.provence_checkpoint import ProvenceCheckpoint
from prunekernels.extras import require
from prunekernels.io.model_loading import quiet
from prunekernels.io.outputs import atomic_folder

OPSET = 17
# what a folder is marked as
KIND = "contextpruner export"


def export_onnx(checkpoint: ProvenceCheckpoint, folder: Path | str, *, overwrite: bool = False) -> Path:
    """Write `checkpoint` into `folder`, which is there whole or not at all; returns that.

    Raises ValueError if the checkpoint is not float32, if `folder` is one of its own, or not empty: then it is only
    replaced with `overwrite`, and where an export wrote it.
    """
    require("onnx", "onnx")
    target = Path(folder)
    if not isinstance(checkpoint.model, torch.nn.Module) or checkpoint.precision != "float32":
        raise ValueError(f"want a float32 model of torch to export, got {checkpoint.model} in {checkpoint.precision}")
    said = {
        "model_type": MODEL_TYPE,
        "layout": checkpoint.layout,
        "default_threshold": checkpoint.threshold,
        "max_length": checkpoint.window,
        "token_types": checkpoint.has_types,
    }
    inputs = [checkpoint.folder, checkpoint.tokenizer.name_or_path]
    with atomic_folder(target, KIND, overwrite=overwrite, inputs=inputs) as made:
        _write_model(checkpoint, checkpoint.model, made / FILE)
        checkpoint.tokenizer.save_pretrained(made)
        (made / "config.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    return target


def _write_model(checkpoint: ProvenceCheckpoint, model: torch.nn.Module, file: Path) -> None:
    example = torch.full((2, 8), checkpoint.tokenizer.sep_token_id or 0)
    inputs = (example, torch.ones_like(example), torch.zeros_like(example))[: 3 if checkpoint.has_types else 2]
    names = INPUTS[: len(inputs)]
    with quiet(), torch.inference_mode(), warnings.catch_warnings():
        # tracing warns of every shape that it reads; the test holds other shapes to the same numbers
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                model.cpu(),
                inputs,
                file,
                input_names=[*names],
                output_names=["keep", "rank"],
                dynamic_axes={name: {0: "rows", 1: "tokens"} for name in (*names, "keep")} | {"rank": {0: "rows"}},
                opset_version=OPSET,
                dynamo=False,
            )
        finally:
            # the model goes on where it was
            model.to(checkpoint.device)
