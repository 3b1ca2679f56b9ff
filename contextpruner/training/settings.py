"""A dataclass of settings from an object of YAML or JSON: each field by its type, unknown keys refused by their place.

Read are bool, int, float, str, Literal, another dataclass, and tuples of these; None where a field allows it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TypeVar

from prunekernels.io.json_files import Fields

Kind = TypeVar("Kind")


def read_settings(held: Fields, kind: type[Kind]) -> Kind:
    """A `kind` with what `held` has, defaults for the rest; raises ValueError with the place of what is wrong."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    held.only(field.name for field in fields)
    for field in fields:
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if not has_default and not held.has(field.name):
            raise ValueError(f"{held.place}: want {field.name}, got {', '.join(held.values) or 'nothing'}")
    hints = typing.get_type_hints(kind)
    given = {field.name: _read(held, field.name, hints[field.name]) for field in fields if held.has(field.name)}
    try:
        return kind(**given)
    except ValueError as error:
        raise ValueError(f"{held.place}: {error}") from error


def _read(held: Fields, key: str, hint: object) -> object:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(option for option in typing.get_args(hint) if option is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if dataclasses.is_dataclass(item):
            return tuple(read_settings(one, item) for one in held.list_of_fields(key))  # type: ignore[arg-type]
        return tuple(held.texts(key)) if item is str else _numbers(held, key, item)
    if typing.get_origin(hint) is typing.Literal:
        return held.text(key, typing.get_args(hint))
    if dataclasses.is_dataclass(hint):
        return read_settings(held.fields(key), hint)  # type: ignore[arg-type]
    if hint is bool:
        return held.flag(key)
    if hint is int:
        return held.integer(key)
    return held.number(key) if hint is float else held.text(key)


def _numbers(held: Fields, key: str, kind: type) -> tuple[float, ...]:
    numbers = held.numbers(key)
    if kind is int and not all(number.is_integer() for number in numbers):
        raise ValueError(f"{held.place}: {key}: want whole numbers, got {numbers}")
    return tuple(map(kind, numbers))
