"""`write`: the pruned corpus as a folder that appears whole.

    kept.jsonl | kept.parquet        the kept rows as they stood: JSON lines byte for byte, Parquet in its schema
    dropped.jsonl | dropped.parquet  the dropped rows with one more field "prunekit": row, uid, reason, scores
    kept_rows.npy, kept_uids.txt     row numbers (int64) and uids of the kept rows, on request
    selection.parquet                the decision for every row
    README.md                        a dataset card with numbers and lineage
    report.html                      pictures, groups, reasons and examples, see report/page.py
    recipe.yaml                      what `datapruner run` makes the same kept rows from

Compressed JSON lines are written with the same compression (kept.jsonl.gz, kept.jsonl.zst), data sets and arrays as
Parquet, images as files in the folders kept/ and dropped/, each with a metadata.jsonl that has the notes. The
folder is one that `datasets.load_dataset` takes: the card names the kept rows.

Where a row (JSONL) or the schema (Parquet) has a field "prunekit" already, the new one is called "prunekit_2", or
the first number that is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datapruner.corpus.atomic_files import atomic_folder, check_new_folder
from datapruner.corpus.chunks import Chunk
from datapruner.corpus.formats.image_folder import ImageFolder
from datapruner.corpus.fragments import CorpusLike, Fragment
from datapruner.corpus.source import Source, as_source
from datapruner.output.dataset_card import dataset_card
from datapruner.output.report import page
from datapruner.output.report.example_rows import ExampleTexts
from datapruner.output.row_files import kept_name, write_index, write_rows
from datapruner.recipe.recipe import Output, as_output
from datapruner.recipe.recipe_from_selection import recipe_text
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.input_check import check_in_background
from datapruner.selection.selection import Selection


def write(
    source: CorpusLike | Source,
    selection: str | Path | Selection,
    out: str | Path | Output,
) -> Path:
    """Write what `selection` keeps of `source` into the folder `out`, and return it.

    The report says more where `Output.scores` names the score table. Raises ValueError where the selection is of
    another input, or `out` is not empty and not to be overwritten.
    """
    source, output = as_source(source), as_output(out)
    selection = selection if isinstance(selection, Selection) else Selection.load(selection)
    files, folder = source.files(), Path(output.path)
    table = None if output.scores is None else ScoreTable(output.scores)
    _protect(files if table is None else [*files, table.path], folder)
    with (
        atomic_folder(folder, output.overwrite) as partial,
        check_in_background(selection, source) as check_input,
    ):
        data = page.page_data(selection, table) if output.report else None
        texts = None if data is None else ExampleTexts(source, selection, data.examples.rows())

        def on_chunk(chunk: Chunk) -> None:
            check_input()
            if texts is not None:
                texts.collect(chunk)

        write_rows(source, selection, partial, output.dropped, on_chunk)
        if output.index:
            write_index(selection, partial)
        selection.save(partial / "selection.parquet")
        (partial / "README.md").write_text(dataset_card(selection, kept_name(source)), encoding="utf-8")
        recipe = recipe_text(source, selection, table, folder)
        if recipe is not None:
            (partial / "recipe.yaml").write_text(recipe, encoding="utf-8")
        if data is not None:
            (partial / "report.html").write_text(page.page_html(data, texts), encoding="utf-8")
    return folder


def check_output(output: Output, source: Source) -> None:
    """Raise where `write` would refuse the output, before any work is done for it."""
    scores = [] if output.scores is None else [Path(output.scores)]
    _protect([*source.files(), *scores], Path(output.path))
    check_new_folder(Path(output.path), output.overwrite)


def _protect(fragments: Sequence[Fragment], folder: Path) -> None:
    """An output that is replaced must not hold what it is made from, nor lie in a folder that is the input."""
    inside = folder.resolve()
    for fragment in fragments:
        path = fragment.path if isinstance(fragment, ImageFolder) else fragment
        if isinstance(path, Path) and path.resolve().is_relative_to(inside):
            raise ValueError(f"the output {folder} holds the input {fragment}: want another folder")
        if isinstance(fragment, ImageFolder) and inside.is_relative_to(fragment.path.resolve()):
            raise ValueError(f"the output {folder} lies in the input {fragment}: want another folder")
