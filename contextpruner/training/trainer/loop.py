"""Training: packed rows and a student in, a pruner out; stopped at any moment, it goes on with the same numbers.

run/log.jsonl     a line for each step that is told of, and each validation
run/state/        `state`; every `save_every` steps, every ten minutes, and when the minutes are over
run/best/         the pruner of the best validation: ContextPruner.from_pretrained reads it
run/last/         the pruner of the end
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import torch

from contextpruner.models.joint_encoder import JointEncoder
from contextpruner.training.packed.batches import TrainingBatch, epoch_batches
from contextpruner.training.packed.shards import MANIFEST, PackedFolder, tokenizer_digest
from contextpruner.training.recipe import Recipe, TrainingSettings
from contextpruner.training.student.encoder import TOKENIZER_FILES, load_student, save_joint
from contextpruner.training.trainer.flops import measured_flops
from contextpruner.training.trainer.losses import Said, losses, total
from contextpruner.training.trainer.state import Progress, load_state, save_state, trained
from contextpruner.training.trainer.step_lines import StepLines
from contextpruner.training.trainer.validation import model_has_types, model_pad, validate
from prunekernels.io.checkpoint import Checkpoint
from prunekernels.io.outputs import atomic_folder, folder_lock

KIND = "contextpruner pruner"
# the share of the characters that the stored threshold removes
REMOVED = 0.7
# a step takes its time where a machine is busy
SAVE_SECONDS = 600
# what a run may be given another value of without being another run
REPORTING = ("validate_every", "validation_tokens", "save_every", "tell_every", "patience")
Listener = Callable[[dict[str, float]], None]


@dataclass
class Run:
    """What one run works with."""

    recipe: Recipe
    folder: Path
    packed: PackedFolder
    model: JointEncoder
    optimizer: torch.optim.Optimizer
    device: torch.device
    progress: Progress
    made_by: str
    teacher: JointEncoder | None = None

    @property
    def settings(self) -> TrainingSettings:
        return self.recipe.training

    @property
    def autocast(self) -> torch.autocast:
        is_mixed = self.settings.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_mixed)


def train(recipe: Recipe, *, device: str | None = None, minutes: float = math.inf, listener: Listener = print) -> Path:
    """Train, or go on training, the student of `recipe`; returns the folder of the best pruner so far.

    After `minutes` the state is saved and the call returns, and a later one goes on. Raises ValueError where the
    folder of the run holds another recipe's state, BlockingIOError where another process trains in it.
    """
    run = _open(recipe, device)
    started = saved = time.monotonic()
    before = run.progress.seconds
    with folder_lock(run.folder, "training in it"):
        _forget_later(run)
        dtype = torch.bfloat16 if run.settings.precision == "bfloat16" else torch.float32
        told = StepLines(run.model, run.settings.tell_every, measured_flops(run.device, dtype))
        for batches in _steps(run):
            found = _step(run, batches)
            run.progress.seconds = before + time.monotonic() - started
            if line := told.line(run.progress, found, batches):
                _log(run, line, listener)
            if run.progress.step % run.settings.validate_every == 0:
                _validated(run, listener)
            if run.progress.step % run.settings.save_every == 0 or time.monotonic() - saved > SAVE_SECONDS:
                _save(run)
                saved = time.monotonic()
            if time.monotonic() - started > 60 * minutes:
                break
        if _is_done(run):
            _validated(run, listener)
            _write_model(run, "last", None)
        _save(run)
    return run.folder / "best"


def _open(recipe: Recipe, device: str | None) -> Run:
    """Everything loaded, at the place where an earlier call stopped."""
    settings, folder = recipe.training, recipe.folder("run")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    packed, student = PackedFolder.open(recipe.folder("packed")), Checkpoint(recipe.folder("student"))
    if not packed.rows["train"] or not packed.rows["validation"]:
        raise ValueError(f"{packed.folder}: want rows to learn from and to validate by, got {packed.rows}")
    if packed.tokenizer != tokenizer_digest(student.folder):
        raise ValueError(
            f"{packed.folder}: want rows of the tokenizer in {student.folder}, got another one's: pack again"
        )
    torch.manual_seed(settings.seed)
    model = load_student(student.folder).to(where).train()
    model.ranker.get_input_embeddings().weight.requires_grad_(settings.train_embeddings)  # type: ignore[operator]
    optimizer = _optimizer(model, settings)
    made_by = _made_by(student, packed, settings)
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    if (folder / "state").is_dir():
        progress = load_state(folder / "state", model, optimizer, made_by)
    teacher = load_student(Path(settings.teacher)).to(where).eval() if settings.teacher else None
    return Run(recipe, folder, packed, model, optimizer, where, progress, made_by, teacher)


def _made_by(student: Checkpoint, packed: PackedFolder, settings: TrainingSettings) -> str:
    """A digest of all that the numbers of a run hang on; what is at its default has no part in it."""
    given = {
        field.name: getattr(settings, field.name)
        for field in fields(settings)
        if field.name not in REPORTING and getattr(settings, field.name) != field.default
    }
    said = json.dumps(given, sort_keys=True) + student.identity
    return blake2b(said.encode() + (packed.folder / MANIFEST).read_bytes(), digest_size=16).hexdigest()


def _optimizer(model: JointEncoder, settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW; biases and norms do not decay."""
    own = [*trained(model).values()]
    groups = [
        {"params": [one for one in own if one.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [one for one in own if one.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), eps=1e-6)


def _steps(run: Run) -> Iterator[list[TrainingBatch]]:
    """The batches of each step from where the run stands, until it is done."""
    progress, settings = run.progress, run.settings
    while not _is_done(run):
        batches = epoch_batches(run.packed, settings.batch_tokens, model_pad(run.model), settings.seed, progress.epoch)
        batches = islice(batches, progress.batch, None)
        while step := [*islice(batches, settings.accumulate)]:
            yield step
            if _is_done(run):
                return
        progress.epoch, progress.batch = progress.epoch + 1, 0


def _is_done(run: Run) -> bool:
    patience = run.settings.patience
    return run.progress.tokens >= run.settings.tokens or (patience > 0 and run.progress.behind >= patience)


def _step(run: Run, batches: list[TrainingBatch]) -> dict[str, float]:
    """One step of the optimizer; returns the losses, means of its batches."""
    settings, progress = run.settings, run.progress
    rate = learning_rate(settings, progress.tokens)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    sums: dict[str, float] = {}
    for batch in batches:
        found = _losses(run, batch.to(run.device))
        (total(found, settings) / len(batches)).backward()
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value.item() / len(batches)
        progress.batch += 1
        progress.tokens += batch.tokens
    torch.nn.utils.clip_grad_norm_(trained(run.model).values(), settings.clip)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    progress.step += 1
    return sums | {"learning_rate": rate}


def learning_rate(settings: TrainingSettings, tokens: int) -> float:
    """Linear warm-up over its share of the run's tokens, then linear to zero."""
    done = tokens / settings.tokens
    if done < settings.warm_up:
        # never zero: the first step learns, too
        return settings.learning_rate * max(done / settings.warm_up, 0.05)
    return settings.learning_rate * max(1 - done, 0.0) / (1 - settings.warm_up)


def _losses(run: Run, batch: TrainingBatch) -> dict[str, torch.Tensor]:
    types = batch.types if model_has_types(run.model) else None
    taught: Said | None = None
    with run.autocast:
        if run.teacher is not None:
            with torch.inference_mode():
                taught = run.teacher.logits(batch.ids, batch.mask, types)
            # numbers of an inference may not be kept for a backward pass
            taught = (taught[0].clone(), taught[1].clone())
        said = run.model.logits(batch.ids, batch.mask, types)
    return losses(said, batch, run.settings, taught)


def _validated(run: Run, listener: Listener) -> None:
    settings, progress = run.settings, run.progress
    curve, run.model.temperature = validate(
        run.model.eval(), run.packed, settings.batch_tokens, settings.validation_tokens, run.autocast
    )
    run.model.train()
    at = curve.at_removed(REMOVED)
    line = {"step": progress.step, "tokens": progress.tokens, "area": curve.area, "temperature": run.model.temperature}
    if at is not None:
        line |= {
            "recall": float(curve.recall[at]),
            "all_gold": float(curve.all_gold[at]),
            "threshold": float(curve.thresholds[at]),
        }
    _log(run, line, listener)
    progress.behind += 1
    if curve.area > progress.best:
        progress.best, progress.behind = curve.area, 0
        _write_model(run, "best", line.get("threshold"))


def _write_model(run: Run, name: str, threshold: float | None) -> None:
    """A folder that labels: weights in fp16, the student's tokenizer, and what made it."""
    student = run.recipe.folder("student")
    with atomic_folder(run.folder / name, KIND, overwrite=True, inputs=[student]) as made:
        for file in TOKENIZER_FILES:
            if (student / file).is_file():
                shutil.copyfile(student / file, made / file)
        length = run.recipe.student.max_length
        save_joint(run.model, made, max_length=length, threshold=threshold, dtype=torch.float16)
        (made / "trainer_state.json").write_text(json.dumps(asdict(run.progress), indent=1) + "\n", "utf-8")


def _save(run: Run) -> None:
    save_state(run.folder / "state", run.model, run.optimizer, run.progress, run.made_by)


def _log(run: Run, line: dict[str, float], listener: Listener) -> None:
    with open(run.folder / "log.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    listener(line)


def _forget_later(run: Run) -> None:
    """Take out of the log what a killed run told after its last state: it is told again."""
    path = run.folder / "log.jsonl"
    if path.is_file():
        lines = path.read_text("utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["step"] <= run.progress.step]
        path.write_text("".join(f"{line}\n" for line in kept), "utf-8")
