"""The command line: `contextpruner prune | calibrate | quality | export | methods`."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli import progress_bar, prune
from contextpruner.cli.errors import clear_errors
from contextpruner.cli.options import LabelerText, SplitterText
from contextpruner.documents.files import Lines, document_from_json, parse_line, read_lines, replacing_text
from contextpruner.documents.questions import read_examples, read_questions
from contextpruner.labeler import LABELERS, Labeler
from contextpruner.models.onnx_export import export_onnx
from contextpruner.models.provence_checkpoint import load_provence
from contextpruner.pruner import ContextPruner
from contextpruner.quality import QUALITIES, Quality, build_quality, prune_index
from contextpruner.units.sentence_splitter import SPLITTERS, SentenceSplitter
from prunekernels import registry

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
) -> None:
    """Find for every recall the threshold that keeps it, from questions whose answers are known."""
    with clear_errors(), progress_bar.over_lines([examples]) as watched:
        asked = read_questions(watched(read_lines(examples, sys.stdin.buffer)))
        made = ContextPruner(labeler, splitter=splitter).calibrate(read_examples(asked))
        made.save(output)
    with clear_errors():
        most = made.n_questions / (made.n_questions + 1)
        typer.echo(f"{output}: {made.n_questions} questions, a recall of up to {most:.3f} can be promised")


@app.command()
def quality(
    passages: Annotated[list[str], typer.Argument(help="The index: .jsonl files of {id, title, text}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The lines that stay, as they stood.")],
    measure: Annotated[
        str, typer.Option(help="A measure and its fields, say perplexity:model=FOLDER; see `methods`.")
    ] = "divergence",
    keep_ratio: Annotated[float, typer.Option(help="Fraction of the passages that is kept, in (0, 1].")] = 0.75,
) -> None:
    """Prune an index before anything is asked: keep the passages of the best quality."""
    with clear_errors():
        if "-" in passages:
            raise ValueError("the index is read more than once: want files, got standard input")
        built = build_quality(measure)
        with progress_bar.over_lines(passages, passes=3 if built.fits else 2) as watched:

            def lines() -> Lines:
                return watched(line for path in passages for line in read_lines(path, sys.stdin.buffer))

            found = prune_index(
                lambda: (document_from_json(place, parse_line(place, line)) for place, line in lines()),
                built,
                keep_ratio,
            )
            kept = set(found.kept.tolist())
            with replacing_text(output) as file:
                for number, (_, line) in enumerate(lines()):
                    if number in kept:
                        file.write(line.decode("utf-8-sig") + "\n")
        typer.echo(f"{output}: {len(kept):,} of {len(found.scores):,} passages kept")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A folder or hub id that the labeler provence reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; made if need be.")],
) -> None:
    """Write a pruner as one ONNX file with its tokenizer; --labeler provence:model=FOLDER runs it on a CPU."""
    with clear_errors():
        typer.echo(f"{export_onnx(load_provence(model), output)}: exported")


@app.command()
def methods() -> None:
    """List the labelers, the splitters and the measures of quality."""
    _show_methods("--labeler", LABELERS, Labeler)
    typer.echo()
    _show_methods("--splitter", SPLITTERS, SentenceSplitter)
    typer.echo()
    _show_methods("--measure", QUALITIES, Quality)


def _show_methods(option: str, folder: str, kind: type) -> None:
    names = registry.names(folder)
    typer.echo(f"{option}:")
    for name in names:
        line = (inspect.getdoc(registry.load(folder, name, kind)) or "").partition("\n")[0]
        typer.echo(f"  {name:<{max(map(len, names))}}  {line}")
