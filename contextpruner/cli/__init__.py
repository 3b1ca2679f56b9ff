"""The command line: `contextpruner prune | calibrate | quality | export | methods`."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli import progress_bar, prune
from contextpruner.cli.errors import clear_errors
from contextpruner.cli.options import LabelerText, Overwrite, SplitterText
from contextpruner.decisions.calibration import calibration_file, is_calibration
from contextpruner.documents.files import Lines, document_from_json, parse_line, read_lines
from contextpruner.documents.questions import read_examples, read_questions
from contextpruner.labeler import LABELERS, Labeler
from contextpruner.models.onnx_export import KIND, export_onnx
from contextpruner.models.provence_checkpoint import load_provence
from contextpruner.pruner import ContextPruner
from contextpruner.quality import QUALITIES, Quality, build_quality, prune_index
from contextpruner.units.sentence_splitter import SPLITTERS, SentenceSplitter
from prunekernels import registry
from prunekernels.io.escape import one_line
from prunekernels.io.outputs import atomic_text, check_file, check_folder

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Keep the sentences that a question needs, cut verbatim out of documents."""


app.command()(prune.prune)


@app.command()
def calibrate(
    examples: Annotated[
        str,
        typer.Argument(help=r"JSON lines of {question, documents, gold}; gold has \[\[start, end], ...] a document."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A JSON file to write, or the folder of a model that it goes with.")
    ],
    labeler: LabelerText = "bm25",
    splitter: SplitterText = "rules",
    overwrite: Overwrite = False,
) -> None:
    """Find for every recall the threshold that keeps it, from questions whose answers are known."""
    with clear_errors():
        # before the work, and again when it is written
        check_file(calibration_file(output), replaces=overwrite or is_calibration, inputs=[examples])
        with progress_bar.over_lines([examples]) as watched:
            asked = read_questions(watched(read_lines(examples, sys.stdin.buffer)))
            made = ContextPruner(labeler, splitter=splitter).calibrate(read_examples(asked))
        made.save(output, overwrite=overwrite)
        most = made.n_questions / (made.n_questions + 1)
        _echo(output, f"{made.n_questions} questions, a recall of up to {most:.3f} can be promised")


@app.command()
def quality(
    passages: Annotated[list[str], typer.Argument(help="The index: .jsonl files of {id, title, text}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The lines that stay, as they stood.")],
    measure: Annotated[
        str, typer.Option(help="A measure and its fields, say perplexity:model=FOLDER; see `methods`.")
    ] = "divergence",
    keep_ratio: Annotated[float, typer.Option(help="Fraction of the passages that is kept, in (0, 1].")] = 0.75,
    overwrite: Overwrite = False,
) -> None:
    """Prune an index before anything is asked: keep the passages of the best quality."""
    with clear_errors():
        if "-" in passages:
            raise ValueError("the index is read more than once: want files, got standard input")
        built = build_quality(measure)
        passes = 3 if built.fits else 2
        with (
            atomic_text(output, replaces=overwrite, inputs=passages) as file,
            progress_bar.over_lines(passages, passes=passes) as watched,
        ):

            def lines() -> Lines:
                return watched(line for path in passages for line in read_lines(path, sys.stdin.buffer))

            found = prune_index(
                lambda: (document_from_json(place, parse_line(place, line)) for place, line in lines()),
                built,
                keep_ratio,
            )
            kept = set(found.kept.tolist())
            for number, (_, line) in enumerate(lines()):
                if number in kept:
                    file.write(line.decode("utf-8-sig") + "\n")
        _echo(output, f"{len(kept):,} of {len(found.scores):,} passages kept")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A folder or hub id that the labeler provence reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; made if need be.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that an export wrote.")] = False,
) -> None:
    """Write a pruner as one ONNX file with its tokenizer; --labeler provence:model=FOLDER runs it on a CPU."""
    with clear_errors():
        check_folder(output, KIND, overwrite=overwrite, inputs=[model])
        _echo(export_onnx(load_provence(model), output, overwrite=overwrite), "exported")


def _echo(output: Path, done: str) -> None:
    """Say what was done, beside an output that goes to standard output itself."""
    typer.echo(f"{one_line(str(output))}: {done}", err=str(output) == "-")


@app.command()
def methods() -> None:
    """List the labelers, the splitters and the measures of quality."""
    _show_methods("--labeler", LABELERS, Labeler)
    typer.echo()
    _show_methods("--splitter", SPLITTERS, SentenceSplitter)
    typer.echo()
    _show_methods("--measure", QUALITIES, Quality)


def _show_methods(option: str, folder: str, kind: type) -> None:
    found, failed = registry.methods(folder, kind)
    lines = {name: (inspect.getdoc(method) or "").partition("\n")[0] for name, method in found.items()}
    lines |= {name: f"cannot be used: {reason}" for name, reason in failed.items()}
    typer.echo(f"{option}:")
    for name in sorted(lines):
        typer.echo(f"  {one_line(name):<{max(map(len, lines))}}  {one_line(lines[name])}")
