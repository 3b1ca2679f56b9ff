"""The state of a run on disk, from which it goes on with the same numbers: whole, or the one before.

run/state/learner.safetensors     what is trained, float32
run/state/optimizer.safetensors   what each optimizer keeps of each of these
run/state/progress.json           steps done, seconds, and what the run is
run/level/                        the same, of the last step before the rate began to fall
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from prunekernels.io.json_files import Fields
from prunekernels.io.outputs import atomic_folder

KIND = "lvlm training state"


@dataclass
class Progress:
    """`steps` are done, in as many `seconds`; the run was to have `planned` of them."""

    steps: int = 0
    seconds: float = 0.0
    planned: int = 0


def save_state(
    folder: Path, learner: nn.Module, optimizers: Sequence[torch.optim.Optimizer], progress: Progress, made_by: str
) -> None:
    """Write it into `folder`; `made_by` tells the run, so that no other one goes on."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in learner.named_parameters()}
    kept = {
        f"{kind}.{names[parameter]}": value.detach().clone()
        for optimizer in optimizers
        for parameter, own in optimizer.state.items()
        for kind, value in own.items()
    }
    with atomic_folder(folder, KIND, overwrite=True) as made:
        save_file({name: value.detach().clone() for value, name in names.items()}, made / "learner.safetensors")
        save_file(kept, made / "optimizer.safetensors")
        said = {"steps": progress.steps, "seconds": progress.seconds, "planned": progress.planned, "made_by": made_by}
        (made / "progress.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")


def read_progress(folder: Path, made_by: str) -> Progress:
    """How far the state in `folder` is; raises ValueError for that of another run."""
    held = Fields.read(folder / "progress.json")
    if held.text("made_by") != made_by:
        raise ValueError(f"{folder}: want the state of this recipe, got another's: want another folder for the run")
    return Progress(held.integer("steps", 0), held.number("seconds", 0), held.integer("planned", 0))


def load_state(folder: Path, learner: nn.Module, optimizers: Sequence[torch.optim.Optimizer], made_by: str) -> Progress:
    """Put the state of `folder` into learner and optimizers; raises ValueError as `read_progress` does."""
    progress = read_progress(folder, made_by)
    load_learner(folder, learner)
    kept = load_file(folder / "optimizer.safetensors")
    names = {parameter: name for name, parameter in learner.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if own := _of(kept, names[parameter]):
                    optimizer.state[parameter] = own
    return progress


def load_learner(folder: Path, learner: nn.Module) -> None:
    """The weights alone; raises ValueError where they are others'."""
    weights, own = load_file(folder / "learner.safetensors"), dict(learner.named_parameters())
    if weights.keys() != own.keys():
        raise ValueError(f"{folder}: want {len(own)} weights of this learner, got {len(weights)} others")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def _of(kept: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """What is kept of the weight of a name, by its kind."""
    return {full.partition(".")[0]: value for full, value in kept.items() if full.partition(".")[2] == name}
