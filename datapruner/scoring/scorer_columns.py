"""Which scorer makes which column, and what the manifest says of columns and input before they are made."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from datapruner.corpus.fingerprint import FileFingerprint
from datapruner.corpus.source import Source
from datapruner.corpus.token_counter import token_counter
from datapruner.scoring.chosen_rows import rows_hash
from datapruner.scoring.manifest import ROWS, Column, Input
from datapruner.scoring.scorer import Embedder, Scorer
from prunekernels import __version__, registry, spec
from prunekernels.io.paths import check_name

SCORERS, EMBEDDERS = "datapruner.scorers", "datapruner.embedders"


def scorers_by_column(scorers: str | Scorer | Sequence[str | Scorer]) -> dict[str, Scorer]:
    """Column names and scorers; a column is named by its method unless the text form names it.

    A scorer of somebody's own that is no entry point is named by its class, `MyScore` as "my_score".
    """
    given = [scorers] if isinstance(scorers, str | Scorer) else [*scorers]
    columns: dict[str, Scorer] = {}
    for item in given:
        name = None
        if isinstance(item, str):
            match = re.match(r"(?:([\w.-]+)=)?(.*)", item, re.DOTALL)
            name, text = match.groups() if match else (None, item)
            named = text.partition(":")[0].strip()
            item = spec.build(EMBEDDERS if named in registry.names(EMBEDDERS) else SCORERS, text, Scorer)
        # a column becomes a folder of this name
        name = check_name(name or _column_name(item), "name of a column")
        if name in columns or name == ROWS:
            raise ValueError(f"column {name!r} is taken: give another name, as in 'other={method_name(item)}'")
        columns[name] = item
    return columns


def method_name(scorer: Scorer) -> str:
    """The name by which the scorer is known: of its file or entry point, or its module and class."""
    return registry.name_of(_package_of(scorer), type(scorer))


def _column_name(scorer: Scorer) -> str:
    name = method_name(scorer)
    is_known = name in registry.names(_package_of(scorer))
    return name if is_known else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(scorer).__name__).lower()


def manifest_column(scorer: Scorer, rows: np.ndarray | None = None) -> Column:
    """The manifest's entry for a column that is to be made, of `rows` or all."""
    scorer.check()
    return Column(
        method=method_name(scorer),
        spec=text_form(scorer),
        fields=scorer.scoring_fields(),
        version=scorer.version,
        identity=scorer.identity(),
        direction=scorer.direction,
        selector=scorer.default_selector,
        package=__version__,
        is_vector=scorer.is_vector,
        complete=False,
        rows=None if rows is None else rows_hash(rows),
    )


def manifest_input(source: Source, files: list[FileFingerprint]) -> Input:
    """The manifest's entry for the input."""
    fields = {**source.fields(), **source.reading(), "tokens": token_counter(source.tokens).described}
    return Input(files=files, fields=fields, chunk_rows=source.chunk_rows, chunk_bytes=source.chunk_bytes)


def _package_of(scorer: Scorer) -> str:
    return EMBEDDERS if isinstance(scorer, Embedder) else SCORERS


def text_form(scorer: Scorer) -> str:
    """The text form that recipes are made of; raises ValueError, before anything is scored, where it is none."""
    package = _package_of(scorer)
    text = spec.describe(scorer, package=package, every_field=True)
    # a class of somebody's own has no form that could be read back
    if method_name(scorer) in registry.names(package):
        spec.build(package, text, Scorer)
    return text
