"""Names for what was done: the text form of a method with every field, its defaults too, which may change one day."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def method_name(method: DataclassInstance) -> str:
    """The file's name, which is the method's."""
    return type(method).__module__.rpartition(".")[2]


def text_form(method: DataclassInstance) -> str:
    """As in "length:unit=characters"; `prunekernels.spec.build` reads it back."""
    fields = [f"{field.name}={getattr(method, field.name)}" for field in dataclasses.fields(method) if field.init]
    return ":".join([method_name(method), ",".join(fields)]).rstrip(":")
