"""The command line: `contextpruner prune | calibrate | evaluate | quality | train | serve | prompt | ...`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Literal

import typer

from contextpruner.cli import calibrate, evaluate, label, mcp, prompt, prune, quality, serve, train
from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.labeler import LABELERS, Labeler
from contextpruner.models.onnx_export import KIND, export_onnx
from contextpruner.models.provence_checkpoint import load_provence
from contextpruner.models.quantized_export import export_quantized
from contextpruner.models.quantized_tensors import Bits
from contextpruner.prompts.search import SEARCHES, Search
from contextpruner.quality import QUALITIES, Quality
from contextpruner.units.sentence_splitter import SPLITTERS, SentenceSplitter
from prunekernels import __version__, registry
from prunekernels.io.escape import one_line
from prunekernels.io.outputs import check_folder

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"contextpruner of prunekit {__version__}")
        raise typer.Exit


@app.callback()
def main(
    shows_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Keep the sentences that a question needs, cut verbatim out of documents."""


app.command()(prune.prune)


app.command()(calibrate.calibrate)
app.command()(quality.quality)
app.command()(label.label)
app.command()(train.prepare)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(serve.serve)
app.command()(mcp.mcp)
app.add_typer(prompt.app, name="prompt")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A folder or hub id that the labeler provence reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; made if need be.")],
    format_: Annotated[
        Literal["onnx", "int8"], typer.Option("--format", help="One ONNX file, or safetensors in 8 bits.")
    ] = "onnx",
    embedding_bits: Annotated[
        int, typer.Option("--embedding-bits", min=4, max=8, help="Of word embeddings in int8: 8 or 4.")
    ] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that an export wrote.")] = False,
) -> None:
    """Write a pruner as one ONNX file, or in 8 bits, with its tokenizer; --labeler provence:model=FOLDER runs it."""
    with clear_errors():
        check_folder(output, KIND, overwrite=overwrite, inputs=[model])
        if format_ == "onnx":
            made = export_onnx(load_provence(model), output, overwrite=overwrite)
        else:
            made = export_quantized(model, output, embedding_bits=_bits(embedding_bits), overwrite=overwrite)
        say_done(made, "exported")


def _bits(asked: int) -> Bits:
    if asked not in (4, 8):
        raise ValueError(f"--embedding-bits wants 4 or 8, got {asked}")
    return asked  # type: ignore[return-value]


@app.command()
def methods() -> None:
    """List the labelers, the splitters, the measures of quality, and the searches for prompts."""
    _show_methods("--labeler", LABELERS, Labeler)
    typer.echo()
    _show_methods("--splitter", SPLITTERS, SentenceSplitter)
    typer.echo()
    _show_methods("--measure", QUALITIES, Quality)
    typer.echo()
    _show_methods("searches", SEARCHES, Search)


def _show_methods(option: str, folder: str, kind: type) -> None:
    found, failed = registry.methods(folder, kind)
    lines = {name: (inspect.getdoc(method) or "").partition("\n")[0] for name, method in found.items()}
    lines |= {name: f"cannot be used: {reason}" for name, reason in failed.items()}
    typer.echo(f"{option}:")
    for name in sorted(lines):
        typer.echo(f"  {one_line(name):<{max(map(len, lines))}}  {one_line(lines[name])}")
