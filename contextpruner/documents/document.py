"""Documents as they are given: strings, mappings or objects with a text and perhaps a title, an id and a format.

The documents of LangChain (`page_content`, `metadata`, `id`), LlamaIndex (`text`, `metadata`, `node_id`) and Haystack
(`content`, `meta`, `id`) are taken as they are, known by their attributes. What goes with a document and is not ours
is its metadata, which comes back with it: a mapping's other fields too. A title may stand there.

All of them are checked before anything is done; what was given is read once and never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from contextpruner.documents.format_detection import FORMATS, Format

Id = str | int | None
# by which names a field goes; the first that is there counts
TEXTS = ("text", "page_content", "content")
IDS = ("id", "_id", "node_id")
METADATA = ("metadata", "meta")


class HasTextField(Protocol):
    """Any object with a `text`; its `title`, `id`, `format` and `metadata` are read where it has them."""

    @property
    def text(self) -> str: ...


class HasPageContent(Protocol):
    """A document of LangChain, or of its form."""

    page_content: str


class HasContent(Protocol):
    """A document of Haystack, or of its form."""

    content: str | None


HasText = HasTextField | HasPageContent | HasContent
Given = str | Mapping[str, object] | HasText
DocumentsOfMany = Iterable[Given] | Iterable[Sequence[Given]]


@dataclass(frozen=True)
class Document:
    """One text, with the name and the title that go with it, and what it is written in (`format_detection`).

    What is `protected` is kept whole, whatever the rules are.
    `metadata` is what else was given with it; nothing here reads it, and it comes back with the result.
    """

    text: str
    id: Id = None
    title: str | None = None
    format: Format = "text"
    protected: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict, hash=False)


def read_documents(documents: Iterable[Given]) -> list[Document]:
    """Read `documents`; raises ValueError that names the index, and the field, of the first bad one."""
    if isinstance(documents, str | bytes | Mapping):
        raise ValueError(f"want a list of documents, got one {type(documents).__name__}")
    read_ones = [read_document(f"document {index}", item) for index, item in enumerate(documents)]
    if not read_ones:
        raise ValueError("want at least one document, got an empty list")
    return read_ones


def listed(questions: Iterable[str]) -> list[str]:
    """The questions; raises ValueError for a single one."""
    if isinstance(questions, str | bytes):
        raise ValueError(f"want a list of questions, got one {type(questions).__name__}")
    return list(questions)


def lists_of_documents(documents: DocumentsOfMany, n_questions: int) -> list[list[Document]]:
    """The documents of each question: one list for all of them, or a list of lists.

    Raises ValueError with the places of the question and the document.
    """
    if isinstance(documents, str | bytes | Mapping):
        raise ValueError(f"want a list of documents, got one {type(documents).__name__}")
    given = list(documents)
    if not given or not all(isinstance(item, list | tuple) for item in given):
        return [read_documents(given)] * n_questions  # type: ignore[arg-type]
    if len(given) != n_questions:
        raise ValueError(f"want documents for each of {n_questions} questions, got {len(given)} lists")
    lists = []
    for index, item in enumerate(given):
        try:
            lists.append(read_documents(item))  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"question {index}: {error}") from error
    return lists


def read_document(name: str, item: object) -> Document:
    """The document that `item` is; raises ValueError that begins with `name`."""
    if isinstance(item, str):
        return Document(check_text(name, item))
    if isinstance(item, Mapping):
        return document_from_fields(name, item)
    if not any(hasattr(item, key) for key in TEXTS):
        raise ValueError(f"{name} wants a string or something with a text, got {type(item).__name__}")
    names = (*TEXTS, *IDS, *METADATA, "title", "format", "protected")
    fields = {key: getattr(item, key) for key in names if hasattr(item, key)}
    text = next(key for key in TEXTS if key in fields)
    # of an object only what is asked for; a second name of its text or id is none of its metadata
    others = {key for key in (*TEXTS, *IDS) if key in fields} - {text, _first(fields, IDS)}
    return document_from_fields(name, {key: value for key, value in fields.items() if key not in others})


def document_from_fields(name: str, fields: Mapping[str, object]) -> Document:
    """A document from a text and perhaps an id, a title, a format and metadata; other fields are metadata too.

    Raises ValueError with `name` and the field.
    """
    names = {"text": _first(fields, TEXTS) or "text", "id": _first(fields, IDS) or "id"}
    text = check_text(f"{name}: {names['text']}", fields.get(names["text"]))
    own = _first(fields, METADATA)
    key, title, format_ = fields.get(names["id"]), fields.get("title"), fields.get("format")
    if isinstance(key, bool) or not isinstance(key, str | int | None):
        raise ValueError(f"{name}: {names['id']} wants a string or an integer, got {type(key).__name__}")
    if format_ is not None and format_ not in FORMATS:
        raise ValueError(f"{name}: format wants one of {', '.join(FORMATS)}, got {format_!a:.80}")
    protected = fields.get("protected")
    if not isinstance(protected, bool | None):
        raise ValueError(f"{name}: protected wants true or false, got {protected!a:.80}")
    metadata = _metadata(fields, own, {*names.values(), own, "title", "format", "protected"})
    said = metadata.get("title")
    if title is None and isinstance(said, str) and said.strip():
        title = said
    return Document(
        text=text,
        id=key if key is None or isinstance(key, int) else check_text(f"{name}: id", key),
        title=None if title is None else check_text(f"{name}: title", title),
        format="text" if format_ is None else format_,
        protected=bool(protected),
        metadata=metadata,
    )


def _first(fields: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    """The first of `names` that has a value; else the first that is there."""
    there = [name for name in names if name in fields]
    return next((name for name in there if fields[name] is not None), there[0] if there else None)


def _metadata(fields: Mapping[str, object], own: str | None, read: set[str | None]) -> dict[str, object]:
    others = {name: value for name, value in fields.items() if name not in read}
    given = fields.get(own) if own else None
    if given is None:
        return others
    # what is no mapping is a field like others
    return others | (dict(given) if isinstance(given, Mapping) else {str(own): given})


def check_text(name: str, text: object) -> str:
    """`text` if it is a string that can be written as UTF-8; raises ValueError with `name` otherwise."""
    if not isinstance(text, str):
        raise ValueError(f"{name} wants a string, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds half of a surrogate pair at character {error.start}") from None
    return text
