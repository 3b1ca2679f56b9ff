"""Trains the decoder and projector of a recipe on the features of its pictures; stopped at any moment, it goes on.

    python -m benchmarks.lvlm.training benchmarks/lvlm/default.yaml --minutes 55

run/log.jsonl   a line for every 20 steps and each validation
run/state/      every `save_every` steps and at the end of the minutes; run/level/, before the rate falls (`state`)

The rate rises, stays level, and falls to zero over the last steps. A run whose recipe is given more steps afterwards
goes on from the level part. The matrices of the decoder's layers are trained with Muon (Jordan et al. 2024), scaled to
the size of Adam's updates (Liu et al. 2025, arXiv:2502.16982), the rest with AdamW.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch

from benchmarks.lvlm import pool
from benchmarks.lvlm.accuracy import accuracies
from benchmarks.lvlm.learner import Learner, new_learner
from benchmarks.lvlm.recipe import Recipe, TrainingSettings
from benchmarks.lvlm.scene import KINDS
from benchmarks.lvlm.state import Progress, load_state, read_progress, save_state
from prunekernels.io.outputs import folder_lock

TELL_EVERY = 20
N_SEEN = 100
CLIP = 1.0
# what a run may be given another value of without being another run
FREE = ("steps", "validate_every", "save_every")


@dataclass
class Run:
    """What one run works with."""

    recipe: Recipe
    learner: Learner
    optimizers: tuple[torch.optim.Optimizer, ...]
    progress: Progress
    made_by: str

    def save(self, name: str = "state") -> None:
        """Write where it stands."""
        save_state(self.recipe.run / name, self.learner, self.optimizers, self.progress, self.made_by)

    def log(self, line: dict[str, object]) -> None:
        """Tell and keep a line."""
        with open(self.recipe.run / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def main() -> None:
    """Train, or go on."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after these it saves and stops")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="the decoder's layers by torch.compile")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe.read(options.recipe)
    if options.steps:
        training = dataclasses.replace(recipe.training, steps=options.steps)
        recipe = dataclasses.replace(recipe, training=training)
    train(recipe, minutes=options.minutes, is_compiled=options.compile)


def train(recipe: Recipe, *, minutes: float = math.inf, is_compiled: bool = False) -> Learner:
    """Train, or go on training; after `minutes` the state is saved, and a later call goes on.

    Raises ValueError where the folder of the run holds another recipe's state, BlockingIOError where another process
    trains in it.
    """
    recipe.run.mkdir(parents=True, exist_ok=True)
    with folder_lock(recipe.run, "training in it"):
        run = _open(recipe)
        if is_compiled:
            for layer in run.learner.decoder.layers:
                layer.compile(dynamic=True)
        _forget_later(run)
        grids = pool.load(recipe, "train")
        held_out = {kind: pool.load(recipe, "validation", kind) for kind in KINDS}
        # how far what is held out lies from what is seen
        held_out["seen"] = [dataclasses.replace(grids[0], examples=grids[0].examples[:N_SEEN])]
        started, before, settings = time.monotonic(), run.progress.seconds, recipe.training
        for losses, size in _steps(run, grids):
            run.progress.seconds = before + time.monotonic() - started
            step = run.progress.steps
            if step % TELL_EVERY == 0:
                run.log({"step": step, **losses, "seconds": round(run.progress.seconds, 1), **size})
            if step == level_steps(settings):
                run.save("level")
            if step % settings.validate_every == 0 or step == settings.steps:
                told = {kind: accuracies(run.learner, own, settings) for kind, own in held_out.items()}
                run.log({"step": step, "accuracy": told})
            is_over = time.monotonic() - started > 60 * minutes
            if step % settings.save_every == 0 or is_over:
                run.save()
            if is_over:
                break
        run.save()
    return run.learner


def _open(recipe: Recipe) -> Run:
    """Everything at the place where an earlier call stopped."""
    learner = new_learner(recipe).train()
    run = Run(recipe, learner, _optimizers(learner, recipe.training), Progress(), _made_by(recipe))
    for name in ("state", "level"):
        folder = recipe.run / name
        if folder.is_dir() and _goes_on(read_progress(folder, run.made_by), recipe.training):
            run.progress = load_state(folder, learner, run.optimizers, run.made_by)
            break
    run.progress.planned = recipe.training.steps
    return run


def _goes_on(progress: Progress, settings: TrainingSettings) -> bool:
    """Whether what was done is the beginning of what the recipe wants: the rate fell nowhere where it does not now."""
    was_level = progress.steps <= level_steps(dataclasses.replace(settings, steps=progress.planned))
    return progress.planned == settings.steps or (was_level and progress.steps <= level_steps(settings))


def _made_by(recipe: Recipe) -> str:
    """A digest of all that the numbers of a run hang on."""
    said = dataclasses.asdict(recipe)
    own = {name: value for name, value in said["training"].items() if name not in FREE}
    whole = {name: said[name] for name in ("blocks", "seed", "pictures", "decoder")} | {"training": own}
    return blake2b(json.dumps(whole, sort_keys=True).encode(), digest_size=16).hexdigest()


def _optimizers(learner: Learner, settings: TrainingSettings) -> tuple[torch.optim.Optimizer, ...]:
    matrices = [weight for weight in learner.decoder.layers.parameters() if weight.ndim == 2]
    taken = {*matrices}
    others = [weight for weight in learner.parameters() if weight not in taken]
    decay, rate = settings.weight_decay, settings.learning_rate
    return (
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, weight_decay=0.0, betas=(0.9, 0.98)),
    )


def _steps(run: Run, grids: list[pool.Grid]) -> Iterator[tuple[dict[str, float], dict[str, int]]]:
    """Losses and sizes of each step from where the run stands, until it is done."""
    settings, progress = run.recipe.training, run.progress
    while progress.steps < settings.steps:
        batch = pool.step_batch(grids, run.recipe, progress.steps)
        rate = rate_at(settings, progress.steps)
        for optimizer in run.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
            said = run.learner(batch)
        answers, patches = run.learner.losses(said, batch)
        # the patches are there to get it going
        (answers + settings.auxiliary * min(1.0, rate) * patches).backward()
        torch.nn.utils.clip_grad_norm_(run.learner.parameters(), CLIP)
        for optimizer in run.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        progress.steps += 1
        yield (
            {"answers": round(answers.item(), 4), "patches": round(patches.item(), 4), "rate": round(rate, 4)},
            {"pictures": len(batch.text), "left": batch.features.shape[1], "text": batch.text.shape[1]},
        )


def level_steps(settings: TrainingSettings) -> int:
    """After how many steps the rate begins to fall."""
    return round(settings.steps * (1 - settings.decay))


def rate_at(settings: TrainingSettings, step: int) -> float:
    """The share of the rate: linear warm-up, level, linear to zero."""
    fall = (settings.steps - step) / max(settings.steps - level_steps(settings), 1)
    return min(1.0, (step + 1) / settings.warm_up, fall)


def _forget_later(run: Run) -> None:
    """Take out of the log what a killed run told after its last state: it is told again."""
    path = run.recipe.run / "log.jsonl"
    if path.is_file():
        lines = path.read_text("utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["step"] <= run.progress.steps]
        path.write_text("".join(f"{line}\n" for line in kept), "utf-8")


if __name__ == "__main__":
    main()
