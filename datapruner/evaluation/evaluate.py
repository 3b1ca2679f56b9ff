"""`evaluate`: is a selection better than a draw, and as good as everything, on this corpus at equal training cost.

    out/scores-<seed>/     score tables; held-out-scores/ where the proxy reads embeddings
    out/record-<seed>.safetensors, ensemble-<seed>/, ...   what the proxy left for scorers, and its teachers
    out/costs-<seed>.json  seconds of all of it
    out/cells/             a file for each training
    out/result.json, report.html

Whatever stops a run, the same call goes on: scores, trainings and seconds that are there are taken from there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from datapruner.corpus.fingerprint import FileFingerprint, fingerprint
from datapruner.corpus.remote_outputs import local_path
from datapruner.evaluation.cells import Trained
from datapruner.evaluation.comparison import Scale, Trials, rows_of
from datapruner.evaluation.corpus_rows import Corpora, load_corpora
from datapruner.evaluation.page import render
from datapruner.evaluation.paired_statistics import seeds_needed
from datapruner.evaluation.plan import Planned, left_out, planned, total
from datapruner.evaluation.proxy import PROXIES, Proxy, Task
from datapruner.evaluation.result import Result, Row
from datapruner.evaluation.scoring_costs import score_columns, score_vectors
from datapruner.evaluation.settings import ALL, Candidate, Evaluation, decides_itself
from datapruner.evaluation.trainings import Trainer
from datapruner.evaluation.verdict import verdict
from datapruner.output.report import page
from datapruner.recipe.recipe import Recipe
from datapruner.recipe.steps import with_named_columns
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.budgets import Budget
from prunekernels import spec
from prunekernels.io.outputs import LOCK, atomic_text, check_not_input, folder_lock, make_parents
from prunekernels.io.staging import recover_all

MARK, RESULT, REPORT = "evaluation.json", "result.json", "report.html"
# told of each training: its number, how many there are, and which it is
TrainingCallback = Callable[[int, int, str], None]


def evaluate(evaluation: Evaluation, out: str | Path, on_training: TrainingCallback | None = None) -> Result:
    """Train, compare and write into the folder `out`, which is new or of an evaluation; returns what was found.

    Raises ValueError for what cannot work before anything is scored, as far as that goes.
    """
    folder, proxy = local_path(out), evaluation.built_proxy
    evaluation = _with_named_columns(evaluation)
    check_not_input(folder, [*evaluation.source.paths(), *evaluation.test.paths()])
    _check_folder(folder)
    make_parents(folder / MARK)
    with folder_lock(folder, "evaluating into it"):
        recover_all(folder)
        _write(folder / MARK, json.dumps({"format": 1}) + "\n")
        tables = score_vectors(evaluation, proxy, folder)
        corpora = load_corpora(evaluation.source, evaluation.test, proxy, tables)
        task = proxy.task(corpora.train, corpora.test)
        seeds = range(evaluation.seeds.scoring)
        scored = [score_columns(evaluation, task, proxy.rate, corpora.train, (folder, seed)) for seed in seeds]
        trainer = Trainer(evaluation, proxy, task, _about(evaluation, proxy, tables), folder)
        plan = planned(evaluation, corpora, scored, task)
        trained = _train_all(trainer, plan, on_training)
        result = _result(trainer, corpora, plan, trained)
        _write(folder / RESULT, result.as_json())
        page.save(render(result), folder / REPORT)
    return result


def n_trainings(evaluation: Evaluation) -> int:
    """How many trainings an evaluation asks for at the most, for a dry run."""
    ways = [len(evaluation.baselines) + 1] * len(evaluation.keep_ratios)
    own = [item for item in evaluation.candidates if decides_itself(item.steps[-1])]
    ranked = len(evaluation.candidates) - len(own)
    count = sum(way + ranked for way in ways) if ranked else 0
    return evaluation.seeds.training * (1 + count + len(own) * (len(evaluation.baselines) + 2))


def _with_named_columns(evaluation: Evaluation) -> Evaluation:
    """Columns and selectors of all steps said, and scorers for fields that they name."""
    ratio = Budget(ratio=evaluation.keep_ratios[0] if evaluation.keep_ratios else 1.0)
    steps = [
        dataclasses.replace(step, keep=ratio) if number == len(item.steps) and not decides_itself(step) else step
        for item in evaluation.candidates
        for number, step in enumerate(item.steps, 1)
    ]
    named = with_named_columns(Recipe(evaluation.source.listed(), evaluation.scorers, tuple(steps)))
    found, candidates = iter(named.select), []
    for item in evaluation.candidates:
        own = [next(found) for _ in item.steps]
        candidates.append(Candidate(item.name, (*own[:-1], dataclasses.replace(own[-1], keep=None)), item.weighted))
    return dataclasses.replace(
        evaluation,
        source=named.source,
        scorers=named.scorers,
        candidates=tuple(candidates),
        test=evaluation.test.listed(),
    )


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"want a folder for the evaluation, got the file {folder}")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in names if name != LOCK and not name.startswith(f".{MARK}.")]
    if others and MARK not in names:
        raise ValueError(f"{folder} is no evaluation and not empty: it has {others[0]}")


def _train_all(
    trainer: Trainer, plan: Sequence[Planned], on_training: TrainingCallback | None
) -> dict[tuple[int, int], Trained]:
    """By place in the plan and replicate; a replicate of all ways before the next, so that a long run can be judged."""
    replicates = trainer.evaluation.seeds.training
    found: dict[tuple[int, int], Trained] = {}
    for replicate in range(replicates):
        for place, item in enumerate(plan):
            if on_training is not None:
                name = item.way if item.ratio is None else f"{item.way} at {item.ratio:g}"
                on_training(len(found) + 1, replicates * len(plan), f"{name}, seed {replicate}")
            seed = trainer.evaluation.seeds.of(replicate)[2]
            found[place, replicate] = trainer.trained(item.ways[replicate], seed)
    return found


def _result(
    trainer: Trainer, corpora: Corpora, plan: Sequence[Planned], trained: dict[tuple[int, int], Trained]
) -> Result:
    evaluation, proxy = trainer.evaluation, trainer.proxy
    replicates = range(evaluation.seeds.training)
    trials = [
        Trials(
            item.way, item.is_candidate, item.ratio, item.beside, [way.kept for way in item.ways],
            [trained[place, number] for number in replicates], item.before + _teachers(trainer, item),
        )
        for place, item in enumerate(plan)
    ]  # fmt: skip
    sign = 1 if proxy.higher_is_better else -1
    margin = proxy.margin if evaluation.margin is None else evaluation.margin
    whole = statistics.fmean(trials[0].qualities)
    scale = Scale(sign, margin, whole - sign * margin, len(corpora.train), total(evaluation, corpora))
    rows = rows_of(trials, scale, corpora.groups)
    apply, sentence = verdict(rows, proxy.quality, margin, sign)
    return Result(
        quality=proxy.quality,
        higher_is_better=proxy.higher_is_better,
        margin=margin,
        target=scale.target,
        budget=evaluation.budget,
        n_rows=len(corpora.train),
        n_test_rows=len(corpora.test),
        n_shared=corpora.n_shared,
        proxy=spec.describe(proxy, package=PROXIES, every_field=True),
        steps=evaluation.steps,
        seeds={**dataclasses.asdict(evaluation.seeds), "selection": evaluation.seeds.selection or len(replicates)},
        rows=tuple(rows),
        apply=apply,
        verdict=sentence,
        notes=tuple(_notes(evaluation, corpora, trainer.task, rows, margin)),
    )


def _teachers(trainer: Trainer, item: Planned) -> float:
    """Mean seconds of the teachers of a way that has them."""
    seeds = [way.seed for way in item.ways if way.kind == "distillation"]
    return statistics.fmean(map(trainer.teacher_seconds, seeds)) if seeds else 0.0


def _notes(evaluation: Evaluation, corpora: Corpora, task: Task, rows: Sequence[Row], margin: float) -> Iterator[str]:
    if corpora.n_shared:
        yield (
            f"{corpora.n_shared:,} of {len(corpora.test):,} held-out rows stand among the rows to train on: the "
            "qualities are too good"
        )
    if evaluation.seeds.scoring == 1:
        yield "Scored once: the intervals do not cover what another scoring would change."
    if evaluation.seeds.selection == 1:
        yield "Drawn once: the intervals do not cover what other draws would change."
    yield "The intervals hold for this held-out corpus; another one of the same kind may differ by more."
    for name, reason in left_out(evaluation, corpora, task).items():
        yield f"{name} is left out: {reason}."
    deviations = [
        item.difference.deviation for row in rows if row.is_candidate for item in row.against if item.baseline == ALL
    ]
    if margin and deviations:
        wanted = seeds_needed(statistics.median(deviations), margin)
        if wanted > evaluation.seeds.training:
            yield (
                f"To show a difference of {margin:g} four times of five, about {wanted} seeds are needed; these are "
                f"{evaluation.seeds.training}."
            )


def _about(
    evaluation: Evaluation, proxy: Proxy, tables: tuple[ScoreTable, ScoreTable | None]
) -> dict[str, str | int | float]:
    """What trainings hang on beside rows and seeds: the proxy, both corpora, and embeddings that the proxy reads."""
    made = [
        {key: column[key] for key in ("method", "version", "fields", "identity")}
        for name, column in sorted(tables[0].manifest["columns"].items())
        if name in proxy.vector_names()
    ]
    train = tables[0].manifest["input"]
    fields = {name: value for name, value in train["fields"].items() if name != "tokens"}
    return {
        "proxy": spec.describe(proxy, package=PROXIES, every_field=True),
        "train": _hash([_content(train["files"]), fields, made]),
        "test": _hash([_content(fingerprint(evaluation.test)), evaluation.test.fields()]),
    }


def _content(files: Sequence[FileFingerprint]) -> list[dict[str, object]]:
    """Without names: a corpus may be moved."""
    return [{key: value for key, value in file.items() if key != "name"} for file in files]


def _hash(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


def _write(path: Path, text: str) -> None:
    with atomic_text(path, replaces=True) as file:
        file.write(text)
