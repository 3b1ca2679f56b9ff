"""What stands for a field: its name or path, a template of several fields, or the name of the file.

    text, meta.pile_set_name, messages.0.content    a field, or a path into one (see field_paths)
    {prompt}\n\n{answer}                            a template: fields in braces, {{ and }} for braces
    @file, @folder                                  the file's name without its ending, that of the folder it is in

A list of messages, objects with `content` (or `value`), is the text of their contents, one paragraph after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from string import Formatter

from datapruner.corpus.format import Rows
from datapruner.corpus.fragments import without_suffix

FILE, FOLDER = "@file", "@folder"


def names_of(field: str) -> list[str]:
    """The fields of a row that `field` stands for."""
    if field in (FILE, FOLDER):
        return []
    return [name for _, name in _template(field) if name is not None] if "{" in field else [field]


def values_of(rows: Rows, fields: Sequence[str]) -> list[list[object]]:
    """For each of `fields` its value in every row; a template is a text, a list of messages stays one."""
    names = [*dict.fromkeys(name for field in fields for name in names_of(field))]
    found = dict(zip(names, rows.fields(names), strict=True)) if names else {}
    return [_values(rows, field, found) for field in fields]


def _values(rows: Rows, field: str, found: dict[str, list[object]]) -> list[object]:
    if field in (FILE, FOLDER):
        return [_place(rows.source_of(index), field) for index in range(len(rows))]
    if "{" not in field:
        return found[field]
    parts = _template(field)
    return [
        "".join(text if name is None else text + _filled(rows, index, name, found[name][index]) for text, name in parts)
        for index in range(len(rows))
    ]


def _filled(rows: Rows, index: int, name: str, value: object) -> str:
    text = joined_messages(value)
    if isinstance(text, str):
        return text
    if isinstance(text, int | float) and not isinstance(text, bool):
        return str(text)
    got = "null" if text is None else type(text).__name__
    raise ValueError(f"{rows.location(index)}: want a string or a number in field {name!r}, got {got}")


def joined_messages(value: object) -> object:
    """A list of messages as one text; anything else as it is."""
    if not isinstance(value, list):
        return value
    contents = [text for text in map(_content, value) if text is not None]
    return "\n\n".join(filter(None, contents)) if len(contents) == len(value) else value


def _content(message: object) -> str | None:
    """The text of one message, "" where it only calls a tool; None where it is no message."""
    if not isinstance(message, dict) or not message.keys() & {"content", "value"}:
        return None
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n\n".join(part for part in parts if isinstance(part, str) and part)
    return "" if content is None else content if isinstance(content, str) else None


@lru_cache(maxsize=64)
def _template(field: str) -> tuple[tuple[str, str | None], ...]:
    """Texts, each with the name of the field behind it; raises ValueError for what is no template."""
    try:
        parts = [*Formatter().parse(field)]
    except ValueError as error:
        raise ValueError(f"want a template with fields in braces, got {field!r:.200}: {error}") from error
    for _, name, form, conversion in parts:
        if name == "" or form or conversion:
            raise ValueError(f"want names of fields in braces and nothing else, got {field!r:.200}")
    return tuple((text, name) for text, name, *_ in parts)


def _place(source: object, field: str) -> str:
    path = PurePosixPath(str(source))
    return without_suffix(path.name) if field == FILE else path.parent.name
