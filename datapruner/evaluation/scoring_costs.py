"""Scoring for an evaluation: a table for each seed, what the proxy leaves for scorers, and the seconds that it took.

A column's seconds are those of its own pass and of the trainings that it reads. Of what a killed run had begun they are
those of the run that ends it.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datapruner.evaluation.observed import ProxyTraining, make_ensemble
from datapruner.evaluation.proxy import LabelledTask, Proxy, Rows, Task
from datapruner.evaluation.settings import Evaluation
from datapruner.scoring.score import score
from datapruner.scoring.score_table import ScoreTable
from datapruner.scoring.scorer import Scorer
from datapruner.scoring.scorer_columns import scorers_by_column, text_form
from datapruner.training.uid_slots import uid_keys
from prunekernels.io.json_files import Fields
from prunekernels.io.outputs import atomic_text

RECORD, ENSEMBLE, HELD_OUT = "record", "ensemble", "held_out"


@dataclass(frozen=True)
class Costs:
    """Seconds by the name of what was made, in a file that is written whenever one more is known."""

    file: Path

    def seconds(self) -> dict[str, float]:
        """All that are known."""
        if not self.file.exists():
            return {}
        read = Fields.read(self.file)
        return {name: read.number(name, minimum=0) for name in read.values}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Note the seconds of the block as those of `name`, unless they are known: then it was done before."""
        begun = time.perf_counter()
        yield
        known = self.seconds()
        if name not in known:
            known[name] = time.perf_counter() - begun
            with atomic_text(self.file, replaces=True) as file:
                file.write(json.dumps(known, indent=1) + "\n")


@dataclass(frozen=True, eq=False)
class Scored:
    """A table, its scorers by column, what each reads of the proxy's trainings, and the seconds of all by name."""

    table: ScoreTable
    columns: Mapping[str, Scorer]
    reads: Mapping[str, str | None]
    seconds: Mapping[str, float]

    def cost(self, names: Collection[str]) -> float:
        """Seconds of the columns `names`, of those that they read, and of the trainings that these read; each once."""
        wanted = {name for name in names if name in self.columns}
        wanted |= {name for column in wanted for name in self.columns[column].vectors() if name in self.columns}
        made = {f"column {name}" for name in wanted} | {kind for name in wanted if (kind := self.reads[name])}
        return sum(self.seconds.get(name, 0.0) for name in made)


def score_vectors(evaluation: Evaluation, proxy: Proxy, out: Path) -> tuple[ScoreTable, ScoreTable | None]:
    """The table of seed 0 with its embedders, and that of the held-out corpus with those that the proxy reads."""
    embedders = {name: scorer for name, scorer in _columns(evaluation, 0).items() if scorer.is_vector}
    table = _score_each(evaluation, embedders, out, 0)
    read = [_named(name, embedders[name]) for name in proxy.vector_names() if name in embedders]
    return table, score(evaluation.test, read, out / "held-out-scores") if read else None


def score_columns(evaluation: Evaluation, task: Task, rate: float, train: Rows, folder: tuple[Path, int]) -> Scored:
    """All scorers with the seed of `folder`, which is the output and that; trains first what they read."""
    out, seed = folder
    columns, costs = _columns(evaluation, seed), Costs(out / f"costs-{seed}.json")
    reads = {name: _wanted(scorer, columns) for name, scorer in columns.items()}
    missing = sorted({kind for kind in reads.values() if kind is not None})
    if missing and not isinstance(task, LabelledTask):
        name = next(name for name, kind in reads.items() if kind is not None)
        raise ValueError(f"{name} reads what a classifier leaves: want a proxy with labels, or name its own file")
    for kind in missing:
        path = _place(out, kind, seed)
        if isinstance(task, LabelledTask):
            with costs.of(kind):
                _train(kind, evaluation, _training(kind, evaluation, task, rate, train), (path, seed))
        for name, scorer in columns.items():
            if reads[name] == kind:
                field = RECORD if kind == RECORD else ENSEMBLE
                columns[name] = dataclasses.replace(scorer, **{field: str(path)})
    table = _score_each(evaluation, columns, out, seed)
    return Scored(table, columns, reads, costs.seconds())


def _score_each(evaluation: Evaluation, columns: Mapping[str, Scorer], out: Path, seed: int) -> ScoreTable:
    """One at a time, vectors first: so much each costs, reading included."""
    costs, folder = Costs(out / f"costs-{seed}.json"), out / f"scores-{seed}"
    table = score(evaluation.source, [], folder)
    for name in sorted(columns, key=lambda name: not columns[name].is_vector):
        with costs.of(f"column {name}"):
            table = score(evaluation.source, [_named(name, columns[name])], folder)
    return table


def _columns(evaluation: Evaluation, seed: int) -> dict[str, Scorer]:
    """The scorers by column; where they are scored anew for each training, those with a seed get this one."""
    found = scorers_by_column(evaluation.scorers)
    if evaluation.seeds.scoring == 1:
        return found
    return {
        name: dataclasses.replace(scorer, seed=seed) if hasattr(scorer, "seed") else scorer  # type: ignore[call-arg]
        for name, scorer in found.items()
    }


def _named(name: str, scorer: Scorer) -> str | Scorer:
    """What makes this column; a class of somebody's own stands for itself."""
    own = next(iter(scorers_by_column([scorer])))
    return scorer if own == name else f"{name}={text_form(scorer)}"


def _wanted(scorer: Scorer, columns: Mapping[str, Scorer]) -> str | None:
    """What of the proxy's trainings a scorer reads that names nothing of its own."""
    fields = {field.name: field.default for field in dataclasses.fields(scorer)}
    if RECORD in fields and getattr(scorer, RECORD) == fields[RECORD]:
        return RECORD
    is_free = ENSEMBLE in fields and not getattr(scorer, ENSEMBLE) and getattr(scorer, "logits", "") == "logits"
    if is_free and "logits" not in columns:
        return HELD_OUT if getattr(scorer, "out_of_sample", False) else ENSEMBLE
    return None


def _place(out: Path, kind: str, seed: int) -> Path:
    return out / (f"{kind}-{seed}.safetensors" if kind == RECORD else f"{kind}-{seed}")


def _training(kind: str, evaluation: Evaluation, task: LabelledTask, rate: float, train: Rows) -> ProxyTraining:
    keys = uid_keys(train.uids).view("uint64")
    epochs = evaluation.observe.early if kind == ENSEMBLE else evaluation.observe.epochs
    return ProxyTraining(task, keys, rate, epochs, kind == HELD_OUT)


def _train(kind: str, evaluation: Evaluation, training: ProxyTraining, place: tuple[Path, int]) -> None:
    path, seed = place
    if kind == RECORD:
        if not path.exists():
            training.record(path, seed)
        return
    # one that is out of sample has been trained several times as it is
    make_ensemble(training, evaluation.source, evaluation.observe.runs if kind == ENSEMBLE else 1, seed, path)
