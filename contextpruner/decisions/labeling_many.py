"""Labels for many questions: what a labeler knows of a document whatever is asked is found once and kept.

Questions are taken in chunks, so that what is held at once is bounded: the documents of a chunk, which are at most
`CHARACTERS` unless one question alone has more, and the cache (`documents.cache`). In a chunk all documents that are
not known are encoded together, and questions about the same documents are labelled together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from contextpruner.decisions.labeling_setup import setup_of
from contextpruner.documents.cache import DocumentCache, Encoded, key_of
from contextpruner.documents.document import Document
from contextpruner.documents.format_detection import Format
from contextpruner.labeler import Labeler, Labels
from contextpruner.units.sentence_splitter import SentenceSplitter
from contextpruner.units.split import SplitDocument, Splitter
from contextpruner.units.unit import Unit
from prunekernels.io.checkpoint import find_checkpoint

QUESTIONS, CHARACTERS = 256, 2_000_000
# what one unit takes in memory, about
UNIT_BYTES = 300
# raised where the same input gives other units or other arrays than before
FORMAT = "1"


class CutDocument(NamedTuple):
    """A document in units, and a digest of all of it that a labeler reads."""

    key: str
    document: SplitDocument


class _Units(NamedTuple):
    format: Format
    units: tuple[Unit, ...]
    digest: str


def chunks(lists: Sequence[Sequence[Document]]) -> Iterator[tuple[int, int]]:
    """Where chunks of questions begin and end, by the lists of their documents."""
    start, seen, size = 0, set[int](), 0
    for index, documents in enumerate(lists):
        new = {id(document): len(document.text) for document in documents if id(document) not in seen}
        if index > start and (size + sum(new.values()) > CHARACTERS or index - start >= QUESTIONS):
            yield start, index
            start, seen, size = index, set(), 0
            new = {id(document): len(document.text) for document in documents}
        seen |= new.keys()
        size += sum(new.values())
    if start < len(lists):
        yield start, len(lists)


class LabelingMany:
    """What `labeler` says of many questions, with what it and `splitter` find of documents kept in `cache`."""

    def __init__(self, labeler: Labeler, splitter: Splitter, cache: DocumentCache) -> None:
        self.labeler, self.cache = labeler, cache
        setup = setup_of(labeler, splitter)
        # a function's name does not say what it does, and a labeler without fields not what it is
        self.splitter = setup.splitter if isinstance(splitter, SentenceSplitter) else None
        self.origin: tuple[str, ...] | None = None
        if dataclasses.is_dataclass(labeler):
            model = "" if setup.model is None else find_checkpoint(setup.model).identity
            self.origin = (FORMAT, setup.labeler, model)

    def cut(self, index: int, document: Document, split: Callable[[int, Document], SplitDocument]) -> CutDocument:
        """The document in units, as `split` cuts it, or as they are known."""
        place = None if self.splitter is None else key_of((self.splitter, document.format, document.text))
        known = None if place is None else self.cache.get(place)
        if not isinstance(known, _Units):
            cut = split(index, document)
            digest = key_of((document.text, *map(repr, cut.units)))
            known = _Units(cut.document.format, cut.units, digest)
            if place is not None:
                held = sum(UNIT_BYTES + len(unit.path) + len(unit.text or "") for unit in cut.units)
                self.cache.put(place, known, held)
        made = SplitDocument(dataclasses.replace(document, format=known.format), known.units)
        return CutDocument(key_of((known.digest, document.title or "")), made)

    def score(self, questions: Sequence[str], cuts: Sequence[Sequence[CutDocument]]) -> list[Labels]:
        """As the labeler's `score` for each question and its documents."""
        distinct = {one.key: one.document for documents in cuts for one in documents}
        encoded = self._encoded(distinct)
        if encoded is None:
            pairs = zip(questions, cuts, strict=True)
            return [self.labeler.score(question, [one.document for one in documents]) for question, documents in pairs]
        groups: dict[tuple[str, ...], list[int]] = {}
        for number, documents in enumerate(cuts):
            groups.setdefault(tuple(one.key for one in documents), []).append(number)
        found: dict[int, Labels] = {}
        for keys, members in groups.items():
            asked = [questions[number] for number in members]
            said = self.labeler.score_encoded(asked, [distinct[key] for key in keys], [encoded[key] for key in keys])
            found |= zip(members, said, strict=True)
        return [found[number] for number in range(len(questions))]

    def _encoded(self, documents: dict[str, SplitDocument]) -> dict[str, Encoded] | None:
        """What the labeler knows of each of `documents`, None where it reads them with the question only."""
        places = {key: None if self.origin is None else key_of((*self.origin, key)) for key in documents}
        found: dict[str, Encoded] = {}
        for key, place in places.items():
            known = None if place is None else self.cache.get_arrays(place)
            if known is not None:
                found[key] = known
        missing = [key for key in documents if key not in found]
        made = self.labeler.encode([documents[key].seen for key in missing])
        if made is None:
            return None
        for key, arrays in zip(missing, made, strict=True):
            found[key] = arrays
            if (place := places[key]) is not None:
                self.cache.put_arrays(place, arrays)
        return found
