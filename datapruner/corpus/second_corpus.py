"""A second corpus that a scorer compares rows with: target examples, an older corpus, evaluation sets.

A field of the scorer says where it is, and `fingerprint` goes into the scorer's `identity()`: the place may change, the
rows may not. Its default is "" where the scorer cannot do without, None where it can; the contract tests fill in the
former. It is read in chunks, never whole, and only by `fit`:

    target: str = field(default="", metadata=SECOND_CORPUS)
    target_text: str = "text"

    check:       SecondCorpus(self.target, "my_scorer.target", self.target_text).check()
    identity:    {"target": SecondCorpus(...).fingerprint()}
    fit:         for texts in SecondCorpus(...).texts(): ...
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from datapruner.corpus import uids
from datapruner.corpus.chunks import Chunk
from datapruner.corpus.fingerprint import fingerprint, stamps
from datapruner.corpus.joined_rows import JoinedRows
from datapruner.corpus.source import Source
from prunekernels.io.errors import one_line

# marks the field of a scorer that holds the path; the rest of it is that of scoring/scorer.py::COSMETIC
SECOND_CORPUS = {"affects_scores": False, "is_second_corpus": True}


@dataclass(frozen=True)
class SecondCorpus:
    """Where it is: a file, a folder, a URL, or "hf://datasets/<owner>/<name>", read as `Source` reads it.

    `named` is what errors call it, the scorer and its field as in "contamination.against". `text`, `label` and
    `image` are the fields to read, None where there is none; `vectors` names fields with vectors beside them.
    """

    path: str
    named: str
    text: str | None = "text"
    label: str | None = None
    image: str | None = None
    vectors: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ValueError where there is none, or where its first rows cannot be read."""
        for chunk in self.chunks():
            for name in self.vectors:
                self.vectors_of(chunk, name)
            return

    def fingerprint(self) -> str:
        """A hash of its files' content in their order, 32 hex digits; their names and place do not count."""
        with self._named_errors():
            files = [{key: value for key, value in file.items() if key != "name"} for file in fingerprint(self._source)]
        return hashlib.blake2b(json.dumps(files, sort_keys=True).encode(), digest_size=16).hexdigest()

    def chunks(self) -> Iterator[Chunk]:
        """All rows, parsed, with uids: content hash and occurrence; no chunk has rows of two files.

        Raises ValueError where there is no row, and at the end where a file was changed meanwhile.
        """
        with self._named_errors():
            source, seen, rows = self._source, uids.SeenHashes(), 0
            before = stamps(source)
            for chunk in map(source.parsed, source.raw_chunks(whole=False, more=self.vectors)):
                rows += len(chunk.rows)
                yield from _by_file(dataclasses.replace(chunk, uids=uids.content_uids(chunk.contents(), seen)), source)
            if not rows:
                raise ValueError(f"{self.path}: want at least one row, got none")
            if stamps(source) != before:
                raise ValueError(f"{self.path}: it was changed while it was read")

    def texts(self) -> Iterator[list[str]]:
        """The texts, a chunk at a time."""
        return (chunk.texts for chunk in self.chunks())

    def vectors_of(self, chunk: Chunk, name: str) -> np.ndarray:
        """The field `name` of a chunk, one of `vectors`: float32 [n, d]."""
        with self._named_errors():
            return self._source.vectors(chunk, name)

    def file_names(self) -> list[str]:
        """The name of each file; `Chunk.file` is a place in it."""
        with self._named_errors():
            return [file.name for file in self._source.files()]

    @property
    def _source(self) -> Source:
        if not self.path:
            raise ValueError("want the path of a corpus, got none")
        return Source(self.path, text=self.text, label=self.label, image=self.image)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """What is wrong with it is said of it, and not of the corpus that is scored."""
        try:
            yield
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.named}: {one_line(error)}") from error


def _by_file(chunk: Chunk, source: Source) -> Iterator[Chunk]:
    """The chunk, or one for each small file of which it has the rows."""
    if not isinstance(chunk.rows, JoinedRows):
        yield chunk
        return
    files, starts = source.files(), chunk.rows.starts
    for part, first, end in zip(chunk.rows.parts, starts, starts[1:], strict=False):
        lists = {name: getattr(chunk, name) for name in ("texts", "uids", "labels", "groups", "images")}
        own = {name: values[first:end] for name, values in lists.items() if values}
        file = files.index(part.source_of(0))
        yield dataclasses.replace(chunk, rows=part, start=chunk.start + first, file=file, **own)
