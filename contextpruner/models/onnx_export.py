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

from contextpruner.extras import require
from contextpruner.models.loading import quiet
from contextpruner.models.onnx_encoder import FILE, INPUTS, MODEL_TYPE
from contextpruner.models.provence_checkpoint import ProvenceCheckpoint

OPSET = 17


def export_onnx(checkpoint: ProvenceCheckpoint, folder: Path | str) -> Path:
    """Write `checkpoint` into `folder`, made if need be; returns that. Raises ValueError if it is not float32."""
    require("onnx", "onnx")
    target = Path(folder)
    if not isinstance(checkpoint.model, torch.nn.Module) or checkpoint.precision != "float32":
        raise ValueError(f"want a float32 model of torch to export, got {checkpoint.model} in {checkpoint.precision}")
    target.mkdir(parents=True, exist_ok=True)
    example = torch.full((2, 8), checkpoint.tokenizer.sep_token_id or 0)
    inputs = (example, torch.ones_like(example), torch.zeros_like(example))[: 3 if checkpoint.has_types else 2]
    names = INPUTS[: len(inputs)]
    with quiet(), torch.inference_mode(), warnings.catch_warnings():
        # tracing warns of every shape that it reads; the test holds other shapes to the same numbers
        warnings.simplefilter("ignore")
        torch.onnx.export(
            checkpoint.model.cpu(),
            inputs,
            target / FILE,
            input_names=[*names],
            output_names=["keep", "rank"],
            dynamic_axes={name: {0: "rows", 1: "tokens"} for name in (*names, "keep")} | {"rank": {0: "rows"}},
            opset_version=OPSET,
            dynamo=False,
        )
    # the model goes on where it was
    checkpoint.model.to(checkpoint.device)
    checkpoint.tokenizer.save_pretrained(target)
    said = {
        "model_type": MODEL_TYPE,
        "layout": checkpoint.layout,
        "default_threshold": checkpoint.threshold,
        "max_length": checkpoint.window,
        "token_types": checkpoint.has_types,
    }
    (target / "config.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    return target
