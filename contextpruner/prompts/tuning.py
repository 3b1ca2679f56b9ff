"""A prompt is tuned: cut into pieces, searched at every length, and judged on rows that no search has seen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from contextpruner.documents.files import read_lines
from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.evaluations import Evaluations
from contextpruner.prompts.language_model.task import LanguageModelTask, PromptModel, load_prompt_model
from contextpruner.prompts.pieces import Pieces, cut_prompt, token_ends
from contextpruner.prompts.prompt import Prompt, Shot, read_rows
from contextpruner.prompts.report.page import page
from contextpruner.prompts.report.result import Baseline, TunedPrompt, TuneResult, pieces_of
from contextpruner.prompts.run import Run
from contextpruner.prompts.search import Found, build_search, find_prompt
from contextpruner.prompts.settings import ModelSettings, TuneSettings
from contextpruner.prompts.task import Task
from contextpruner.prompts.verdict import average, by_lot, difference, rows_of, scores_of
from prunekernels.io.outputs import atomic_folder

KIND = "contextpruner prompt report"
EVALUATIONS, REPORT = "evaluations.jsonl", "report"
# told what runs, how many evaluations of it are done, and of how many
Listener = Callable[[str, int, int], None]


def tune(settings: TuneSettings, listener: Listener = lambda said, done, total: None) -> TuneResult:
    """Search, judge, and write `work`/report: report.json, report.html, and each pruned prompt in a file.

    Goes on where an earlier run with the same settings stopped, to the same result. Raises ValueError with the place
    of what is wrong before anything is searched.
    """
    searches = {text: build_search(text) for text in settings.searches}
    for search in searches.values():
        search.prepare()
    prompt, development, held_out = _read(settings)
    model = _load(settings.model)
    pieces = cut_prompt(prompt, lambda text: token_ends(model.lm.tokenizer, text), settings.protect)
    tasks = [_task(settings, model, prompt, pieces, rows) for rows in (development, held_out)]
    work = Path(settings.work)
    work.mkdir(parents=True, exist_ok=True)
    with Evaluations.kept_in(work / EVALUATIONS) as remembered:
        judge = Judge(settings, tasks[0], tasks[1], remembered)
        found = []
        for tokens in settings.lengths(len(tasks[0].ids(judge.full.kept))):
            for text, search in searches.items():
                run = Run(tasks[0], tokens, settings.max_evaluations, settings.seed, remembered)
                run.listener = _told(listener, f"{text}, {tokens} tokens", settings.max_evaluations)
                found.append(judge.tuned(text, tokens, find_prompt(search, run)))
        result = judge.result(found)
    write_report(result, work / REPORT)
    return result


class Judge:
    """Held-out scores of prompts, beside their development scores; what was scored before is remembered."""

    def __init__(self, settings: TuneSettings, development: Task, held_out: Task, remembered: Evaluations) -> None:
        self.settings, self.development, self.held_out = settings, development, held_out
        self.remembered = remembered
        self.full = Candidate.full(len(development.pieces))

    def tuned(self, text: str, tokens: int, found: Found) -> TunedPrompt:
        """What the search `text` found, judged."""
        one, pieces = found.candidate, self.development.pieces
        own = rows_of(self.held_out, one, self.remembered)
        others = by_lot(self.held_out, found.tokens, self.settings.random_draws, self.settings.seed)
        lot = average([rows_of(self.held_out, other, self.remembered) for other in others])
        whole = rows_of(self.held_out, self.full, self.remembered)
        return TunedPrompt(
            search=text, max_tokens=tokens, tokens=found.tokens, evaluations=found.evaluations, seconds=found.seconds,
            development=scores_of(self.development, rows_of(self.development, one, self.remembered)),
            held_out=scores_of(self.held_out, own), by_lot=scores_of(self.held_out, lot),
            to_full=difference(self.held_out, own, whole), to_random=difference(self.held_out, own, lot),
            front=found.front, pieces=pieces_of(pieces, one), text=pieces.join(one.kept),
        )  # fmt: skip

    def result(self, found: Sequence[TunedPrompt]) -> TuneResult:
        """All of `found` with the baselines."""
        empty = self.full.without(self.development.pieces.free, "")
        settings = self.settings
        return TuneResult(
            model=settings.model.name, objective=settings.objective, has_labels=self.development.has_labels,
            development_rows=self.development.n_rows, held_out_rows=self.held_out.n_rows, seed=settings.seed,
            baselines=(self._baseline("full", self.full), self._baseline("none", empty)), prompts=tuple(found),
        )  # fmt: skip

    def _baseline(self, name: Literal["full", "none"], one: Candidate) -> Baseline:
        tasks = (self.development, self.held_out)
        scores = [scores_of(task, rows_of(task, one, self.remembered)) for task in tasks]
        return Baseline(name, len(self.development.ids(one.kept)), *scores)


def write_report(result: TuneResult, folder: Path) -> None:
    """Write `folder`, a new one or one that this wrote."""
    with atomic_folder(folder, KIND, overwrite=True) as made:
        (made / "report.json").write_text(result.to_json(), "utf-8")
        (made / "report.html").write_text(page(result), "utf-8")
        for number, one in enumerate(result.prompts, 1):
            # line ends as they stood in the prompt
            name = f"prompt_{number}_{one.search.partition(':')[0]}_{one.max_tokens}.txt"
            (made / name).write_bytes(one.text.encode())


def _read(settings: TuneSettings) -> tuple[Prompt, list[Shot], list[Shot]]:
    """The prompt with all its shots, and the rows of each kind; raises ValueError where one shows what another has."""
    found = {}
    for name, path, most in (
        ("shots", settings.shots, sys.maxsize),
        ("development", settings.development, settings.development_rows),
        ("held_out", settings.held_out, settings.held_out_rows),
    ):
        found[name] = read_rows(read_lines(path, sys.stdin.buffer), most) if path else []
        if path and not found[name]:
            raise ValueError(f"{path} holds no rows")
    prompt = replace(settings.prompt, shots=(*settings.prompt.shots, *found["shots"]))
    seen = {shot.question for shot in prompt.shots}
    for name in ("development", "held_out"):
        for row in found[name]:
            if row.question in seen:
                raise ValueError(f"{name}: want rows that are neither shown nor searched on, got {row.question!r:.100}")
        seen |= {row.question for row in found[name]}
    return prompt, found["development"], found["held_out"]


def _task(settings: TuneSettings, model: PromptModel, prompt: Prompt, pieces: Pieces, rows: list[Shot]) -> Task:
    return LanguageModelTask(model, prompt, pieces, rows, labels=settings.labels, objective=settings.objective)


def _load(held: ModelSettings) -> PromptModel:
    return load_prompt_model(
        held.name, precision=held.precision, device=held.device or None, window=held.window,
        batch_size=held.batch_size, prefix_cache=held.prefix_cache,
    )  # fmt: skip


def _told(listener: Listener, said: str, total: int) -> Callable[[int], None]:
    return lambda done: listener(said, done, total)
