"""`contextpruner quality`: the passages of an index that stay, and on request the others, and a line about each."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TextIO

import typer

from contextpruner.cli import progress_bar
from contextpruner.cli.errors import clear_errors, say_done
from contextpruner.cli.options import Overwrite
from contextpruner.documents.document import Document
from contextpruner.documents.files import Lines, document_from_json, parse_line, read_lines
from contextpruner.quality import IndexPruning, build_quality, prune_index
from prunekernels.io.outputs import atomic_text


def quality(  # noqa: PLR0913 - a command's options
    passages: Annotated[list[str], typer.Argument(help="The index: .jsonl files of {id, title, text}.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The lines that stay, as they stood; - is standard output.")
    ],
    measure: Annotated[
        str, typer.Option(help="A measure and its fields, say perplexity:model=FOLDER; see `methods`.")
    ] = "divergence",
    keep_ratio: Annotated[
        float, typer.Option(help="Fraction of the different passages that is kept, in (0, 1].")
    ] = 0.9,
    keep_copies: Annotated[bool, typer.Option("--keep-copies", help="Take equal texts as different passages.")] = False,
    dropped: Annotated[Path | None, typer.Option(help="Write the other lines to this file, as they stood.")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Write a line of {place, id, score, kept, reason} a passage to this file.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Prune an index before anything is asked: keep the passages of the best quality."""
    with clear_errors(), ExitStack() as stack:
        if "-" in passages:
            raise ValueError("the index is read more than once: want files, got standard input")
        built = build_quality(measure)
        targets = [target for target in (output, dropped, scores) if target is not None]
        if len({target.resolve() for target in targets}) < len(targets):
            raise ValueError(f"want a file each for what is written, got {', '.join(map(str, targets))}")
        files = {
            target: stack.enter_context(atomic_text(target, replaces=overwrite, inputs=passages)) for target in targets
        }
        with progress_bar.over_lines(passages, passes=3 if built.fits else 2) as watched:

            def lines() -> Lines:
                return watched(line for path in passages for line in read_lines(path, sys.stdin.buffer))

            found = prune_index(
                lambda: (_document(place, line) for place, line in lines()), built, keep_ratio, keep_copies=keep_copies
            )
            for number, (place, line) in enumerate(lines()):
                target = output if found.reason(number) == "kept" else dropped
                if target is not None:
                    files[target].write(line.decode("utf-8-sig") + "\n")
                if scores is not None:
                    _write_score(files[scores], found, number, place, line)
    say_done(output, f"{len(found.kept):,} of {len(found.scores):,} passages kept")


def _document(place: str, line: bytes) -> Document:
    return document_from_json(place, parse_line(place, line))


def _write_score(file: TextIO, found: IndexPruning, number: int, place: str, line: bytes) -> None:
    reason = found.reason(number)
    said = {
        "place": place,
        "id": _document(place, line).id,
        "score": float(found.scores[number]),
        "kept": reason == "kept",
        "reason": reason,
    }
    if reason == "copy":
        said["copy_of"] = int(found.copy_of[number])
    file.write(json.dumps(said, ensure_ascii=False) + "\n")
