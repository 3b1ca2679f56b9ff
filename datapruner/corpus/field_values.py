"""Values of a field as what the source promises: texts, names, classes, images, vectors. An error names the row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import cast

import numpy as np

from datapruner.corpus.format import Rows
from datapruner.corpus.formats.image_folder import LARGEST_IMAGE
from datapruner.corpus.named_files import MOST_BYTES, named_file
from datapruner.corpus.picture_check import problem_of
from datapruner.corpus.text_fields import joined_messages
from prunekernels.io.paths import read_regular

NUMBERS = (int, float, Decimal, np.number)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)


def texts(rows: Rows, name: str, values: Sequence[object]) -> list[str]:
    """`values` of the field `name`, each of which must be valid text, or a list of messages, whose texts are joined."""
    if any(isinstance(value, list) for value in values):
        values = [joined_messages(value) for value in values]
    found = [value for value in values if isinstance(value, str)]
    if len(found) < len(values):
        index = next(i for i, value in enumerate(values) if not isinstance(value, str))
        raise ValueError(f"{rows.location(index)}: want a string in field {name!r}, got {_kind(values[index])}")
    _check_unicode(found, rows, name)
    return found


def names(rows: Rows, name: str, values: Sequence[object]) -> list[str]:
    """`values` of the field `name` as names: strings, and whole numbers as strings."""
    found = [str(value) for value in labels(rows, name, values)]
    _check_unicode(found, rows, name)
    return found


def labels(rows: Rows, name: str, values: Sequence[object]) -> list[str | int]:
    """`values` of the field `name` as classes: strings and whole numbers, as they are."""
    found: list[str | int] = []
    if set(map(type, values)) <= {str, int}:
        return cast("list[str | int]", [*values])
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, str | int):
            wanted = f"want a string or whole number in field {name!r}"
            raise ValueError(f"{rows.location(index)}: {wanted}, got {_kind(value)}")
        found.append(value)
    return found


def images(rows: Rows, name: str, values: Sequence[object]) -> list[bytes]:
    """`values` of the field `name` as encoded images: bytes, or `datasets`' bytes and path.

    A path is one of a file of the corpus's own, see `named_file`.
    """
    found: list[bytes] = []
    left = MOST_BYTES
    for index, value in enumerate(values):
        content: object = value
        if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
            content, path = value.get("bytes"), named_image(rows, name, index, value)
            if path is not None:
                content = _read_image(path, f"{rows.location(index)}: field {name!r}")
                left -= len(content)
                if left < 0:
                    wanted = f"want at most {MOST_BYTES:,} bytes of images in a chunk, got more"
                    raise ValueError(f"{rows.location(index)}: field {name!r}: {wanted}: a smaller chunk_rows helps")
        if not isinstance(content, bytes) or not content:
            got = "none" if content == b"" else _kind(content)
            raise ValueError(f"{rows.location(index)}: want an encoded image in field {name!r}, got {got}")
        problem = problem_of(content)
        if problem is not None:
            raise ValueError(f"{rows.location(index)}: want a whole image in field {name!r}, got {problem}")
        found.append(content)
    return found


def named_image(rows: Rows, name: str, index: int, value: object) -> Path | None:
    """The file that row `index` names as its image; None where it has the bytes, or names none."""
    if not isinstance(value, dict) or value.get("bytes") is not None or not isinstance(value.get("path"), str):
        return None
    return named_file(rows.source_of(index), value["path"], f"{rows.location(index)}: field {name!r}")


def _read_image(path: Path, place: str) -> bytes:
    try:
        return read_regular(path, LARGEST_IMAGE, place=place)
    except OSError as error:
        raise ValueError(f"{place}: cannot be read: {error}") from error


def vectors(rows: Rows, name: str) -> np.ndarray:
    """The field `name` of `rows` as float32 [n, d], one number a row as [n, 1]; each must be there and finite."""
    array_of_format = rows.vectors(name)
    array = _listed(rows, name) if array_of_format is None else array_of_format
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        index, column = (int(number) for number in np.argwhere(~np.isfinite(array))[0])
        got = f"got {array[index, column]} as number {column + 1}"
        raise ValueError(f"{rows.location(index)}: want finite numbers in field {name!r}, {got}")
    return array


def _listed(rows: Rows, name: str) -> np.ndarray:
    values = rows.fields([name])[0]
    first = next((value for value in values if value is not None), None)
    # a flag is 0 or 1; tables of text hold numbers as text
    if isinstance(first, NUMBERS) or (isinstance(first, str) and _NUMBER.fullmatch(first)):
        return _numbers(rows, name, values)
    length = None
    for index, value in enumerate(values):
        place = f"{rows.location(index)}: want a list of numbers in field {name!r}"
        if not isinstance(value, list | tuple | np.ndarray):
            raise ValueError(f"{place}, got {_kind(value)}")
        length = len(value) if length is None else length
        if len(value) != length:
            raise ValueError(f"{place}, all of one length: got {len(value)} and {length} before")
        for item in value:
            if isinstance(item, bool) or not isinstance(item, NUMBERS):
                raise ValueError(f"{place}, got one that has {_kind(item)}")
    return _floats(values, length or 0)


def _numbers(rows: Rows, name: str, values: Sequence[object]) -> np.ndarray:
    for index, value in enumerate(values):
        if not isinstance(value, NUMBERS) and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
            got = f"{value!r:.40}" if isinstance(value, str) else _kind(value)
            raise ValueError(f"{rows.location(index)}: want a number in field {name!r}, got {got}")
    return _floats([float(value) if isinstance(value, str) else value for value in values], 1)


def _floats(values: Sequence[object], columns: int) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64)
    except OverflowError:
        # a whole number beyond all floats; who called finds its row
        array = np.array(values, dtype=object)
        array = np.vectorize(_float, otypes=[np.float64])(array)
    return array.reshape(len(values), columns)


def _float(value: int | float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _check_unicode(found: Sequence[str], rows: Rows, name: str) -> None:
    """Half a surrogate pair is a str to Python and no text to anybody else."""
    try:
        # whether a string is ASCII, it knows; only the others have to be looked at
        "".join([text for text in found if not text.isascii()]).encode()
    except UnicodeEncodeError:
        pass
    else:
        return
    for index, text in enumerate(found):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            place = f"{rows.location(index)}: field {name!r}"
            message = f"{place} has half a surrogate pair at character {error.start}, which is no text"
            raise ValueError(message) from error
    raise ValueError(f"{rows.location(0)} and after: want text in field {name!r}")


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
