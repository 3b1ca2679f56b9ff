"""Command lines that label by words where they name no labeler: what they test hangs on no model."""

from __future__ import annotations

from pathlib import Path

LABELLING = ("prune", "calibrate")


def lexical(*arguments: str | Path) -> list[str]:
    """`arguments` as text, with `--labeler bm25` where they label and say nothing else."""
    given = [str(argument) for argument in arguments]
    names_one = any(argument.partition("=")[0] == "--labeler" for argument in given)
    if not given or given[0] not in LABELLING or names_one or "--help" in given:
        return given
    return [given[0], "--labeler", "bm25", *given[1:]]
