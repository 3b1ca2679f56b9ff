"""The vectors of a second corpus: a field of its rows, or a column of its score table, an embedder's.

field:  "old.jsonl" whose rows have "embedding"
column: "old_scores/", a score table that has the column "embedding", made by the same embedder as this corpus's
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapruner.corpus.remote_files import is_url
from datapruner.corpus.second_corpus import SecondCorpus
from datapruner.scoring.manifest import MANIFEST, ROWS
from datapruner.scoring.score_table import ScoreTable
from prunekernels.io.errors import one_line


@dataclass(frozen=True)
class SecondVectors:
    """The vectors `name` of the corpus or score table `path`; `named` is what errors call it, as "scorer.field".

    `text` is the corpus's field of texts, by which its rows are known; None where it has none.
    """

    path: str
    named: str
    name: str
    text: str | None = None

    def check(self) -> None:
        """Raise ValueError where there is none, or where its first rows cannot be read."""
        for _ in self.blocks():
            return

    def fingerprint(self) -> str:
        """A hash of what decides the vectors: the content of its files, and how a column was made."""
        if not self._is_table():
            return self._corpus.fingerprint()
        table = self._table()
        column = table.manifest["columns"][self.name]
        files = [
            {key: value for key, value in file.items() if key != "name"} for file in table.manifest["input"]["files"]
        ]
        about = [files, *(column[key] for key in ("method", "version", "fields", "identity"))]
        return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()

    def blocks(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Uids and vectors float32 [n, d] of one width d, a chunk at a time; at least one row."""
        width = None
        for uids, vectors in self._of_table() if self._is_table() else self._of_corpus():
            width = vectors.shape[1] if width is None else width
            if vectors.shape[1] != width:
                got = f"got {vectors.shape[1]} and {width} before"
                raise ValueError(f"{self.named}: {self.path}: want {self.name!r} of one length, {got}")
            yield uids, vectors

    def _of_corpus(self) -> Iterator[tuple[list[str], np.ndarray]]:
        corpus = self._corpus
        for chunk in corpus.chunks():
            yield chunk.uids, corpus.vectors_of(chunk, self.name)

    def _of_table(self) -> Iterator[tuple[list[str], np.ndarray]]:
        table = self._table()
        for chunk in range(table.manifest["chunks"] or 0):
            yield table.read_part(ROWS, chunk, "uid").to_pylist(), table.vectors(self.name, chunk)

    @property
    def _corpus(self) -> SecondCorpus:
        return SecondCorpus(self.path, self.named, self.text, vectors=(self.name,))

    def _is_table(self) -> bool:
        return bool(self.path) and not is_url(self.path) and (Path(self.path) / MANIFEST).is_file()

    def _table(self) -> ScoreTable:
        try:
            table = ScoreTable(self.path)
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.named}: {one_line(error)}") from error
        if self.name not in table.vector_columns:
            known = ", ".join(table.vector_columns) or "none"
            raise ValueError(
                f"{self.named}: {self.path} has no finished vector column {self.name!r}; finished: {known}"
            )
        return table
