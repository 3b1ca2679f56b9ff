"""`contextpruner prompt`: a few-shot prompt, pruned to the tokens that its task needs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli import progress_bar
from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.prompts.report.result import TunedPrompt, TuneResult
from contextpruner.prompts.settings import read_tune_settings
from contextpruner.prompts.tuning import REPORT, tune
from contextpruner.prompts.verdict import Interval
from prunekernels.io.escape import one_line

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Prune a few-shot prompt by search.")


@app.callback()
def prompts() -> None:
    """Prune a few-shot prompt to the tokens that its task needs."""


@app.command("tune")
def tune_prompt(
    config: Annotated[Path, typer.Argument(help="Prompt, rows, model and searches in YAML (docs/prompts.md).")],
    work: Annotated[
        str | None, typer.Option("--work", help="The folder that is worked in, in place of the file's.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda; by default the GPU where there is one.")
    ] = None,
) -> None:
    """Search for a shorter prompt, judge it on held-out rows, and write a report; a run that was stopped goes on."""
    with clear_errors():
        settings = read_tune_settings(config)
        model = dataclasses.replace(settings.model, device=device or settings.model.device)
        settings = dataclasses.replace(settings, work=work or settings.work, model=model)
        with progress_bar.over_searches() as listener:
            result = tune(settings, listener)
        say_done(Path(settings.work) / REPORT, f"{len(result.prompts)} pruned prompts")
        typer.echo("\n".join(_table(result)))


def _table(result: TuneResult) -> list[str]:
    """A line for each baseline and each pruned prompt; accuracy in per cent, else nats."""
    width = max(len(one_line(one.search)) for one in result.prompts)
    lines = [f"{'':<{width}}  {'tokens':>6}  {'development':>11}  {'held out':>8}  {'to random':>25}  verdict"]
    for base in result.baselines:
        scores = "  ".join((f"{_number(result, base.development.main.mean):>11}",
                            f"{_number(result, base.held_out.main.mean):>8}"))  # fmt: skip
        lines.append(f"{base.name:<{width}}  {base.tokens:>6}  {scores}")
    return [*lines, *(_line(result, one, width) for one in result.prompts)]


def _line(result: TuneResult, one: TunedPrompt, width: int) -> str:
    numbers = f"{_number(result, one.development.main.mean):>11}  {_number(result, one.held_out.main.mean):>8}"
    difference = f"{_interval(result, one.to_random.main):>25}"
    return f"{one_line(one.search):<{width}}  {one.tokens:>6}  {numbers}  {difference}  {one.verdict}"


def _interval(result: TuneResult, value: Interval) -> str:
    return f"{_number(result, value.mean)} ({_number(result, value.low)} to {_number(result, value.high)})"


def _number(result: TuneResult, value: float) -> str:
    return f"{100 * value:.1f}" if result.has_labels else f"{value:.3f}"
