"""The text form of a method: its name and its fields, as in "perplexity:model=gpt2,window=512".

The fields are those of the method's dataclass; a value is read by the field's type. Several numbers of one field,
a tuple, are written with slashes: "tome:r=16/8/8", and a single one as "r=16/". The same reader serves the command
lines and recipes, so that a new method needs no line there.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TypeVar

from prunekernels import registry

Kind = TypeVar("Kind")
Value = str | int | float | bool | None | tuple["Value", ...]


def build(package: str, text: str, kind: type[Kind]) -> Kind:
    """The method of `package` that `text` describes; raises ValueError naming the field that is wrong."""
    name, _, rest = text.partition(":")
    method = registry.load(package, name.strip(), kind)
    hints = typing.get_type_hints(method)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(method) if field.init}  # type: ignore[arg-type]
    values: dict[str, Value] = {}
    for pair in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = pair.partition("=")
        if not equals or key not in fields:
            known = ", ".join(fields) or "no fields"
            raise ValueError(f"{name} has {known}: want field=value, got {pair!r}")
        values[key] = _read(f"{name}.{key}", value, fields[key])
    return method(**values)


def describe(method: object) -> str:
    """The text form of `method` with the fields that are not at their defaults: what `build` reads back."""
    name = type(method).__module__.rpartition(".")[2]
    fields = [field for field in dataclasses.fields(method) if field.init]  # type: ignore[arg-type]
    changed = [field.name for field in fields if getattr(method, field.name) != field.default]
    return ":".join([name, ",".join(f"{field}={_written(getattr(method, field))}" for field in changed)]).rstrip(":")


def _written(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return "/".join(map(_written, value)) + "/" * (len(value) < 2)


def _read(name: str, text: str, hint: object) -> Value:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in options and text in ("", "None", "none"):
        return None
    for option in options:
        if typing.get_origin(option) is typing.Literal:
            if text in typing.get_args(option):
                return text
        elif option is bool:
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
        elif option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
        elif typing.get_origin(option) is tuple:
            item = typing.get_args(option)[0]
            return tuple(_read(name, part, item) for part in text.split("/") if part)
        elif option is str:
            return text
    wanted = " or ".join(getattr(option, "__name__", str(option)) for option in options)
    raise ValueError(f"{name} wants {wanted}, got {text!r}")
