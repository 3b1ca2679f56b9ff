"""Which scorer makes which column, and what the manifest says of columns and input before they are made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import metadata

from datapruner.corpus.fingerprint import FileFingerprint
from datapruner.corpus.source import Source
from datapruner.corpus.token_counter import token_counter
from datapruner.scoring.manifest import ROWS, Column, Input
from datapruner.scoring.scorer import Scorer
from prunekernels import registry, spec
from prunekernels.io.paths import check_name

SCORERS, EMBEDDERS = "datapruner.scorers", "datapruner.embedders"


def scorers_by_column(scorers: str | Scorer | Sequence[str | Scorer]) -> dict[str, Scorer]:
    """Column names and scorers; a column is named by its method unless the text form names it."""
    given = [scorers] if isinstance(scorers, str | Scorer) else [*scorers]
    columns: dict[str, Scorer] = {}
    for item in given:
        name = None
        if isinstance(item, str):
            match = re.match(r"(?:(\w+)=)?(.*)", item, re.DOTALL)
            name, text = match.groups() if match else (None, item)
            item = spec.build(_package_of(text.partition(":")[0].strip()), text, Scorer)
        # a column becomes a folder of this name
        name = check_name(name or method_name(item), "name of a column")
        if name in columns or name == ROWS:
            raise ValueError(f"column {name!r} is taken: give another name, as in 'other={method_name(item)}'")
        columns[name] = item
    return columns


def method_name(method: object) -> str:
    """The name of the method's file, which is the method's."""
    return type(method).__module__.rpartition(".")[2]


def manifest_column(scorer: Scorer) -> Column:
    """The manifest's entry for a column that is to be made."""
    scorer.check()
    return Column(
        method=method_name(scorer),
        spec=_text_form(scorer),
        fields=scorer.scoring_fields(),
        version=scorer.version,
        identity=scorer.identity(),
        direction=scorer.direction,
        package=_package_version(),
        is_vector=scorer.is_vector,
        complete=False,
    )


def manifest_input(source: Source, files: list[FileFingerprint]) -> Input:
    """The manifest's entry for the input."""
    fields = {**source.fields(), **source.reading(), "tokens": token_counter(source.tokens).described}
    return Input(files=files, fields=fields, chunk_rows=source.chunk_rows, chunk_bytes=source.chunk_bytes)


def _package_of(name: str) -> str:
    return EMBEDDERS if name in registry.names(EMBEDDERS) else SCORERS


def _text_form(scorer: Scorer) -> str:
    """The text form that recipes are made of; raises ValueError, before anything is scored, where it is none."""
    name, text = method_name(scorer), spec.describe(scorer, every_field=True)
    package = _package_of(name)
    # a class of somebody's own has no form that could be read back
    if name in registry.names(package) and type(scorer) is registry.load(package, name, Scorer):
        spec.build(package, text, Scorer)
    return text


def _package_version() -> str:
    try:
        return metadata.version("prunekit")
    except metadata.PackageNotFoundError:
        return "unknown"
