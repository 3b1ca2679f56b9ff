"""The text form of a method: its name and its fields, as in "perplexity:model=gpt2,window=512".

The fields are those of the method's dataclass; a value is read by the field's type. Several values of one field,
a tuple, are written with slashes: "tome:r=16/8/8", and a single one as "r=16/". Text with a comma, a quote or another
letter that would be read stands between double quotes, with the escapes of JSON: `perplexity:model="my,model"`; what is
quoted is text, also where it looks like a number. The same reader serves the command lines and recipes, so that a new
method needs no line there.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from typing import NamedTuple, TypeVar

from prunekernels import registry

Kind = TypeVar("Kind")
Value = str | int | float | bool | None | tuple["Value", ...]
# letters that need no quotes; inside a value an equals sign and a colon are letters like others
_PLAIN = re.compile(r"[^,\"/\s\x00-\x1f\ud800-\udfff]+(?: +[^,\"/\s\x00-\x1f\ud800-\udfff]+)*")
_PLAIN_PATH = re.compile(r"[^,\"\s\x00-\x1f\ud800-\udfff]+(?: +[^,\"\s\x00-\x1f\ud800-\udfff]+)*")


class Text(NamedTuple):
    """A text form in its parts: the name, and what stands for each field, with its quotes."""

    name: str
    fields: dict[str, str]

    def __str__(self) -> str:
        told = ",".join(f"{key}={value}" for key, value in self.fields.items())
        return f"{self.name}:{told}" if told else self.name


def parse(text: str) -> Text:
    """The parts of a text form; raises ValueError for one that is none. `str` of them is the text form again."""
    name, _, rest = text.partition(":")
    fields: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in _split(rest, ","))):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{name.strip()} wants field=value, got {pair!r:.200}")
        if key.strip() in fields:
            raise ValueError(f"{name.strip()} wants {key.strip()!r} once, got it twice")
        fields[key.strip()] = value.strip()
    return Text(name.strip(), fields)


def build(package: str, text: str, kind: type[Kind]) -> Kind:
    """The method of `package` that `text` describes; raises ValueError naming the field that is wrong."""
    name, given = parse(text)
    method = registry.load(package, name, kind)
    hints = typing.get_type_hints(method)
    fields = {field.name: hints[field.name] for field in _fields(method)}
    for key in given:
        if key not in fields:
            known = ", ".join(fields) or "none"
            raise ValueError(f"{name} has no field {key!r:.200}; it has {known}")
    return method(**{key: _read(f"{name}.{key}", value, fields[key]) for key, value in given.items()})


def describe(method: object, *, package: str | None = None, every_field: bool = False) -> str:
    """The text form of `method` with the fields that are not at their defaults: what `build` reads back.

    The name is that of `package` (`registry.name_of`), or where none is given that of the method's file. With
    `every_field` also fields at their defaults, for records that must outlive these. A value of another kind than
    text, numbers, truths, None and tuples of them is told as Python tells it, which `build` refuses.
    """
    own = type(method).__module__.rpartition(".")[2]
    name = own if package is None else registry.name_of(package, type(method))
    try:
        hints = typing.get_type_hints(type(method))
    except NameError:
        # a class of somebody's own, who builds it without us
        hints = {}
    fields = _fields(method)
    values = {field.name: getattr(method, field.name) for field in fields}
    shown = [field.name for field in fields if every_field or values[field.name] != field.default]
    return str(Text(name, {field: _written(values[field], hints.get(field)) for field in shown}))


def _fields(method: object) -> list[dataclasses.Field[object]]:
    """The fields in the order in which a call takes them: those that want their name come last."""
    found = [field for field in dataclasses.fields(method) if field.init]  # type: ignore[arg-type]
    return sorted(found, key=lambda field: bool(field.kw_only))


def _written(value: object, hint: object) -> str:
    if not isinstance(value, tuple):
        return _written_item(value, hint, _PLAIN_PATH)
    items = next((args[0] for args in map(typing.get_args, _options(hint)) if args and args[-1] is Ellipsis), str)
    return "/".join(_written_item(item, items, _PLAIN) for item in value) + "/" * (len(value) < 2)


def _written_item(value: object, hint: object, plain: re.Pattern[str]) -> str:
    if not isinstance(value, str):
        told = str(value)
        return told if plain.fullmatch(told) else json.dumps(told)
    # quoted, text is nothing else; bare, it is what the first kind that fits makes of it
    if plain.fullmatch(value):
        try:
            if _read("", value, hint) == value:
                return value
        except ValueError:
            pass
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _wanted(option: object) -> str:
    """How an error calls what a field takes."""
    if typing.get_origin(option) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(option)))}"
    return getattr(option, "__name__", str(option))


def _read(name: str, text: str, hint: object) -> Value:
    options = _options(hint)
    quoted = _unquoted(name, text)
    if quoted is None and type(None) in options and text in ("", "None", "none"):
        return None
    given = text if quoted is None else quoted
    for option in options:
        if typing.get_origin(option) is typing.Literal:
            if given in typing.get_args(option):
                return given
        elif option is str:
            return given
        elif typing.get_origin(option) is tuple:
            # quotes are those of its items
            item = typing.get_args(option)[0]
            return tuple(_read(name, part, item) for part in _split(text, "/") if part)
        elif quoted is not None:
            continue
        elif option is bool:
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
        elif option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
    wanted = " or ".join(map(_wanted, options))
    raise ValueError(f"{name} wants {wanted}, got {text!r:.200}")


def _options(hint: object) -> tuple[object, ...]:
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else (hint,)


def _unquoted(name: str, text: str) -> str | None:
    """What stands between the quotes of `text`; None where it is not one quoted text."""
    if not text.startswith('"') or len(_split(text, "/")) > 1:
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} wants text between quotes, got {text!r:.200}: {error.msg}") from None
    if end != len(text):
        raise ValueError(f"{name} wants nothing behind the quotes, got {text!r:.200}")
    return str(value)


def _split(text: str, separator: str) -> list[str]:
    """`text` at each `separator` that stands in no quotes; these begin a value, or an item of several."""
    parts, start, at, is_first = [], 0, 0, True
    while at < len(text):
        letter = text[at]
        if letter == '"' and is_first:
            at = _quote_end(text, at)
        elif letter == separator:
            parts.append(text[start:at])
            start = at + 1
        is_first = letter in "=/," or (is_first and letter == " ")
        at += 1
    return [*parts, text[start:]]


def _quote_end(text: str, start: int) -> int:
    """Where the quotes that begin at `start` end; raises ValueError where they do not."""
    at = start + 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise ValueError(f"want quotes that end, got {text[start:]!r:.200}")
    return at
