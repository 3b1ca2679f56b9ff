"""The state of a run on disk, from which it goes on as if it had never stopped: whole, or the one before.

run/state/model.safetensors       what is trained, float32
run/state/optimizer.safetensors   both moments of each of these, and torch's generator
run/state/progress.json           where it stands: steps, tokens, the place in the data, the best so far
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from prunekernels.io.checkpoint import safetensors_errors
from prunekernels.io.json_files import Fields
from prunekernels.io.outputs import atomic_folder

KIND, FORMAT = "contextpruner training state", 1
GENERATOR = "generator"


@dataclass
class Progress:
    """`batch` batches of `epoch` are done; `best` is the best area so far, `behind` the validations since then."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = 0.0
    behind: int = 0


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, made_by: str
) -> None:
    """Write the state into `folder`; `made_by` tells settings and data of the run, so that no other one goes on."""
    from safetensors.torch import save_file

    own = trained(model)
    moments = {GENERATOR: torch.get_rng_state()}
    for name, parameter in own.items():
        for kind, value in optimizer.state[parameter].items():
            moments[f"{kind}.{name}"] = value.detach().cpu().contiguous()
    with atomic_folder(folder, KIND, overwrite=True) as made:
        save_file({name: value.detach().cpu().contiguous() for name, value in own.items()}, made / "model.safetensors")
        save_file(moments, made / "optimizer.safetensors")
        said = {"format": FORMAT, "made_by": made_by, **dataclasses.asdict(progress)}
        (made / "progress.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, made_by: str) -> Progress:
    """Put the state of `folder` into model and optimizer; raises ValueError for that of another run."""
    from safetensors.torch import load_file

    held = Fields.read(folder / "progress.json")
    held.format(FORMAT)
    if held.text("made_by") != made_by:
        raise ValueError(
            f"{folder}: want the state of this recipe and data, got another's: want another folder for the run"
        )
    with safetensors_errors(folder / "model.safetensors"):
        weights = load_file(folder / "model.safetensors")
    with safetensors_errors(folder / "optimizer.safetensors"):
        moments = load_file(folder / "optimizer.safetensors")
    own = trained(model)
    if weights.keys() != own.keys():
        raise ValueError(f"{folder}: want {len(own)} weights of this student, got {len(weights)} others")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
            kinds = [full.partition(".")[0] for full in moments if full.partition(".")[2] == name]
            optimizer.state[parameter] = {
                kind: moments[f"{kind}.{name}"].to("cpu" if kind == "step" else parameter.device) for kind in kinds
            }
    torch.set_rng_state(moments[GENERATOR])
    whole = {field.name: held.integer(field.name, 0) for field in dataclasses.fields(Progress) if field.type == "int"}
    return Progress(**whole, seconds=held.number("seconds", 0), best=held.number("best", 0, 1))
