"""What an output may be: never what it is made from, and in place of nothing that we did not write."""

from __future__ import annotations

from pathlib import Path

from datapruner.corpus.fragments import output_suffix
from datapruner.corpus.remote_outputs import check_remote, local_path, url_of
from datapruner.corpus.source import Source
from datapruner.recipe.recipe import Output
from prunekernels.io.outputs import check_folder

# what the mark of an output folder says
KIND = "datapruner output"


def check_output(output: Output, source: Source) -> list[str]:
    """Raise ValueError where `write` would refuse the output; returns what it would replace."""
    check_form(output, source)
    if (url := url_of(output.path)) is not None:
        check_remote(url)
        if output.scores is None or url_of(output.scores) is not None:
            raise ValueError(f"want scores=<a folder of this machine> (--scores) beside an output at {url}")
        return []
    out = local_path(output.path)
    if output.scores is not None:
        _check_apart(out, Path(output.scores))
    return check_folder(out, KIND, overwrite=output.overwrite, inputs=output_inputs(output, source))


def output_inputs(output: Output, source: Source) -> list[Path]:
    """What the output is made from, as far as it lies on this machine."""
    return [*source.paths(), *([] if output.scores is None else [Path(output.scores)])]


def check_form(output: Output, source: Source) -> None:
    """Raise ValueError where the rows of `source` cannot be written as the output wants them."""
    suffix = output_suffix(source.files()[0], output.form)
    if output.shard_rows is not None and not suffix:
        raise ValueError("images are written as files: want no shard_rows")


def _check_apart(out: Path, scores: Path) -> None:
    """Raise where one lies in the other, also where they are not made yet."""
    inside, table = out.resolve(), scores.resolve()
    if table.is_relative_to(inside):
        raise ValueError(f"the output {out} holds the input {scores}: want another folder")
    if inside.is_relative_to(table):
        raise ValueError(f"the output {out} lies in the scores {scores}: want another folder")
