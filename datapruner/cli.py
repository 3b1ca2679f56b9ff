"""The command line: the same words and options as the Python functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import datapruner
from datapruner import view

app = typer.Typer(
    help="Score a corpus once, select from it many times, write what is kept and why the rest is not.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Files = Annotated[list[Path], typer.Argument(help="JSONL or Parquet files of one format, or a folder of them.")]
Text = Annotated[str, typer.Option(help="Field with the text.")]
Uid = Annotated[str | None, typer.Option(help="Field with a unique id; without it, content hash and occurrence.")]
Group = Annotated[str | None, typer.Option(help="Field with the group (domain or class) of a row.")]
ChunkRows = Annotated[int, typer.Option(help="Rows per chunk: what is read at once, and what a killed run may lose.")]
KeepRatio = Annotated[float | None, typer.Option(help="Fraction that is kept, in (0, 1].")]
Rule = Annotated[str, typer.Option("--selector", help='Selector, as in "middle" or "threshold:minimum=0.2".')]
Per = Annotated[str | None, typer.Option(help="Group field: select inside each group, which keeps its share.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
NoDropped = Annotated[bool, typer.Option("--no-dropped", help="Do not write the dropped rows.")]


@app.command()
def score(
    files: Files,
    scorer: Annotated[
        list[str], typer.Option(help='[name=]method:field=value,... as in "perplexity:window=512"; may be repeated.')
    ],
    out: Annotated[Path, typer.Option(help="Folder of the score table; what is there is not scored again.")],
    text: Text = "text",
    uid: Uid = None,
    group: Group = None,
    chunk_rows: ChunkRows = 4096,
) -> None:
    """Score every row into a table; a killed run goes on where it stopped."""
    with _clear_errors():
        source = datapruner.Source([*files], text, uid, group, chunk_rows=chunk_rows)
        view.show_table(datapruner.score(source, scorer, out))


@app.command()
def select(
    table: Annotated[Path, typer.Argument(help="Folder that `score` wrote.")],
    out: Annotated[Path, typer.Option(help="Selection to write, a Parquet file.")],
    selector: Rule = "middle",
    by: Annotated[str | None, typer.Option(help="Column to select by; not needed where there is one.")] = None,
    keep_ratio: KeepRatio = None,
    per: Per = None,
    within: Annotated[Path | None, typer.Option(help="Earlier selection: only the rows it keeps compete.")] = None,
) -> None:
    """Decide from the scores which rows are kept; takes seconds, reads no text."""
    with _clear_errors():
        selection = datapruner.select(table, selector, by, keep_ratio, per, within)
        selection.save(out)
        view.show_selection(selection, out)


@app.command()
def write(
    files: Files,
    selection: Annotated[Path, typer.Option(help="File that `select` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for kept and dropped rows, selection and dataset card.")],
    overwrite: Overwrite = False,
    no_dropped: NoDropped = False,
) -> None:
    """Write the kept rows as they stood, and the dropped ones with their reasons."""
    with _clear_errors():
        decided = datapruner.Selection.load(selection)
        datapruner.write(datapruner.Source([*files]), decided, datapruner.Output(out, overwrite, not no_dropped))
        view.show_selection(decided, out)


@app.command()
def prune(
    files: Files,
    scorer: Annotated[str, typer.Option(help='method:field=value,... as in "perplexity:window=512".')],
    out: Annotated[Path, typer.Option(help="Folder for kept and dropped rows, selection and dataset card.")],
    selector: Rule = "middle",
    keep_ratio: KeepRatio = None,
    per: Per = None,
    text: Text = "text",
    uid: Uid = None,
    group: Group = None,
    chunk_rows: ChunkRows = 4096,
    scores: Annotated[Path | None, typer.Option(help="Folder of the score table; default: OUT.scores.")] = None,
    overwrite: Overwrite = False,
    no_dropped: NoDropped = False,
) -> None:
    """Score, select and write in one go."""
    with _clear_errors():
        source = datapruner.Source([*files], text, uid, group or per, chunk_rows=chunk_rows)
        output = datapruner.Output(out, overwrite, not no_dropped, scores)
        view.show_selection(datapruner.prune(source, scorer, selector, keep_ratio, output, per), out)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Folder that `score` wrote, or file that `select` wrote.")],
) -> None:
    """Show what a score table or a selection holds and how it was made."""
    with _clear_errors():
        if path.is_dir() and not (path / "selection.parquet").exists():
            view.show_table(datapruner.ScoreTable(path))
        else:
            file = path / "selection.parquet" if path.is_dir() else path
            view.show_selection(datapruner.Selection.load(file), file)


@app.command()
def methods() -> None:
    """List the scorers and selectors with their fields."""
    with _clear_errors():
        view.show_methods()


@contextmanager
def _clear_errors() -> Iterator[None]:
    """What a user can mend is one line on stderr and exit code 2."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        view.show_error(str(error))
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        view.show_error("stopped; the same command goes on where this one was")
        raise typer.Exit(130) from None


if __name__ == "__main__":
    app()
