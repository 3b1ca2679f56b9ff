"""`write`: the pruned corpus as a folder that appears whole.

    kept.jsonl | kept.parquet        the kept rows as they stood: JSON lines byte for byte, Parquet in its schema
    dropped.jsonl | dropped.parquet  the dropped rows with one more field "prunekit": row, uid, reason, scores
    kept_rows.npy, kept_uids.txt     row numbers (int64) and uids of the kept rows, on request
    kept_weights.npy                 how many rows each kept one stands for (float32), where a selector says so
    selection.parquet                the decision for every row
    README.md                        a dataset card with numbers and lineage
    report.html                      pictures, groups, reasons and examples, see report/page.py
    recipe.yaml                      what `datapruner run` makes the same kept rows from
    skipped.jsonl                    rows that could not be used: place, reason and row, where the source skips such

With `Output.form` rows are written as JSON lines or Parquet whatever they were (types: corpus/formats/_converted.py);
with `Output.shard_rows` as kept/00000.jsonl and so on; with `Output.noted` kept rows have the field "prunekit", too.
Compressed JSON lines are written with the same compression (kept.jsonl.gz, kept.jsonl.zst), CSV as CSV, other JSON
and text files as JSON lines, data sets, arrays and Arrow files as Parquet, images as files in the folders kept/ and
dropped/, each with a metadata.jsonl that has the notes. The
folder is one that `datasets.load_dataset` takes: the card names the kept rows.

Where a row (JSONL) or the schema (Parquet) has a field "prunekit" already, the new one is called "prunekit_2", or
the first number that is free.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from datapruner.corpus import bad_rows
from datapruner.corpus.bad_rows import SKIPPED, SkippedFile
from datapruner.corpus.chunks import Chunk
from datapruner.corpus.fragments import CorpusLike, output_suffix
from datapruner.corpus.remote_outputs import local_path, remote_copy, url_of
from datapruner.corpus.source import Source, as_source
from datapruner.output.dataset_card import dataset_card
from datapruner.output.report import page
from datapruner.output.report.example_rows import ExampleTexts
from datapruner.output.row_files import Callbacks, RowFiles, write_index, write_rows, write_weights
from datapruner.output.shards import Sharing, write_shards
from datapruner.recipe.output_check import KIND, check_form, output_inputs
from datapruner.recipe.recipe import Output, as_output
from datapruner.recipe.recipe_from_selection import recipe_text
from datapruner.scoring.score_table import ScoreTable
from datapruner.selection.input_check import check_in_background
from datapruner.selection.selection import Selection
from datapruner.selection.uid_column import FileUidColumn
from prunekernels.io.outputs import atomic_folder
from prunekernels.io.staging import recover_all


def write(
    source: CorpusLike | Source,
    selection: str | Path | Selection,
    out: str | Path | Output,
) -> str | Path:
    """Write what `selection` keeps of `source` into the folder `out`, or to a URL that fsspec knows, and return it.

    The report says more where `Output.scores` names the score table. Raises ValueError where the selection is of
    another input, where `out` is or holds what it is made from, or where it is not empty and not to
    be overwritten, or not ours alone.
    """
    source, output = as_source(source), as_output(out)
    selection = selection if isinstance(selection, Selection) else Selection.load(selection)
    recorded = selection.input["fields"]
    if recorded.get("on_error") is not None:
        # which rows are skipped hangs on what is wanted of them
        source = source.as_recorded(recorded)
    elif recorded.get("limit") is not None:
        source = dataclasses.replace(source, limit=int(str(recorded["limit"])))
    source = source.listed()
    if (url := url_of(output.path)) is not None:
        with remote_copy(url) as made:
            _write(source, selection, dataclasses.replace(output, path=made), None)
        return url
    folder = local_path(output.path)
    _write(source, selection, dataclasses.replace(output, path=folder), folder)
    return folder


def _write(source: Source, selection: Selection, output: Output, place: Path | None) -> None:
    """Write into the folder of `output`; `place` is where recipes are read, None: somewhere else."""
    check_form(output, source)
    folder, inputs = Path(output.path), output_inputs(output, source)
    if isinstance(selection.uids, FileUidColumn):
        inputs.append(selection.uids.path)
    table = None if output.scores is None else ScoreTable(output.scores)
    with (
        atomic_folder(folder, KIND, overwrite=output.overwrite, inputs=inputs) as partial,
        check_in_background(selection, source) as check_input,
    ):
        data = page.page_data(selection, table) if output.report else None
        texts = None if data is None else ExampleTexts(source, selection, data.examples.rows())
        selection.save(partial / "selection.parquet")

        def on_chunk(chunk: Chunk) -> None:
            check_input()
            if texts is not None:
                texts.collect(chunk)

        files = RowFiles(partial, output_suffix(source.files()[0], output.form), output.dropped, output.noted)
        on_skip = bad_rows.ignore if source.on_error == "refuse" else SkippedFile(partial / SKIPPED).add
        callbacks = Callbacks(on_chunk, on_skip, np.zeros(0, np.int64) if texts is None else texts.wanted)
        if output.shard_rows is None:
            write_rows(source, selection, files, callbacks)
        else:
            sharing = Sharing(output.shard_rows, output.workers, table, partial / "selection.parquet")
            write_shards(source, selection, files, sharing, callbacks)
        write_weights(selection, partial)
        if output.index:
            write_index(selection, partial)
        card = dataset_card(selection, files.name("kept", output.shard_rows is not None), output.form)
        (partial / "README.md").write_text(card, encoding="utf-8")
        recipe = recipe_text(source, selection, table, place)
        if recipe is not None:
            (partial / "recipe.yaml").write_text(recipe, encoding="utf-8")
        if data is not None:
            (partial / "report.html").write_text(page.page_html(data, texts), encoding="utf-8")
        # where the selection was made, should that not have gone
        recover_all(partial)
