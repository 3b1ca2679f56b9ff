"""Documents as they are given: strings, mappings or objects with a text and perhaps a title, an id and a format.

All of them are checked before anything is done; what was given is read once and never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from contextpruner.documents.format_detection import FORMATS, Format

Id = str | int | None
FIELDS = ("text", "id", "title", "format", "protected")


class HasText(Protocol):
    """Any object with a `text`; its `title`, `id` and `format` are read where it has them."""

    @property
    def text(self) -> str: ...


Given = str | Mapping[str, object] | HasText
DocumentsOfMany = Iterable[Given] | Iterable[Sequence[Given]]


@dataclass(frozen=True)
class Document:
    """One text, with the name and the title that go with it, and what it is written in (`format_detection`).

    What is `protected` is kept whole, whatever the rules are.
    """

    text: str
    id: Id = None
    title: str | None = None
    format: Format = "text"
    protected: bool = False


def read_documents(documents: Iterable[Given]) -> list[Document]:
    """Read `documents`; raises ValueError that names the index, and the field, of the first bad one."""
    if isinstance(documents, str | bytes | Mapping):
        raise ValueError(f"want a list of documents, got one {type(documents).__name__}")
    read_ones = [_read_one(index, item) for index, item in enumerate(documents)]
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


def _read_one(index: int, item: object) -> Document:
    name = f"document {index}"
    if isinstance(item, str):
        return Document(check_text(name, item))
    if isinstance(item, Mapping):
        fields = {field: item.get(field) for field in FIELDS}
    elif hasattr(item, "text"):
        fields = {field: getattr(item, field, None) for field in FIELDS}
    else:
        raise ValueError(f"{name} wants a string or something with a text, got {type(item).__name__}")
    return document_from_fields(name, fields)


def document_from_fields(name: str, fields: Mapping[str, object]) -> Document:
    """A document from a text and perhaps an id, a title and a format; raises ValueError with `name` and the field."""
    key, title, format_ = fields.get("id"), fields.get("title"), fields.get("format")
    text = check_text(f"{name}: text", fields.get("text"))
    if isinstance(key, bool) or not isinstance(key, str | int | None):
        raise ValueError(f"{name}: id wants a string or an integer, got {type(key).__name__}")
    if format_ is not None and format_ not in FORMATS:
        raise ValueError(f"{name}: format wants one of {', '.join(FORMATS)}, got {format_!r}")
    protected = fields.get("protected")
    if not isinstance(protected, bool | None):
        raise ValueError(f"{name}: protected wants true or false, got {protected!r}")
    return Document(
        text=text,
        id=key if key is None or isinstance(key, int) else check_text(f"{name}: id", key),
        title=None if title is None else check_text(f"{name}: title", title),
        format="text" if format_ is None else format_,
        protected=bool(protected),
    )


def check_text(name: str, text: object) -> str:
    """`text` if it is a string that can be written as UTF-8; raises ValueError with `name` otherwise."""
    if not isinstance(text, str):
        raise ValueError(f"{name} wants a string, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds half of a surrogate pair at character {error.start}") from None
    return text
