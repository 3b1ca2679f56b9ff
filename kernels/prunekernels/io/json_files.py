"""One JSON object from a file or a line, read strictly, and its fields by their kinds.

Depth and size are bounded, NaN, Infinity and numbers beyond float64 are refused, so are keys that stand twice and
text that UTF-8 cannot hold (half of a surrogate pair). Every error is one line that begins with the place: the file,
the line, the field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from prunekernels.io.paths import check_name, read_regular

Json: TypeAlias = "str | int | float | bool | None | list[Json] | dict[str, Json]"

MAX_BYTES, MAX_DEPTH = 64 << 20, 64
# a string, closed or not, or a bracket; a string without an end takes all that follows
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def parse_json(data: bytes | str, place: str, *, max_depth: int = MAX_DEPTH, unique_keys: bool = True) -> Json:
    """The value that `data` holds; raises ValueError, beginning with `place`, for anything else.

    `place` is a file, or "corpus.jsonl:3"; in a text of several lines the line of a mistake is added to it. Bytes
    are UTF-8, perhaps with a byte order mark. `unique_keys=False` lets the last of equal keys win, as corpora want it.
    """
    text = data if isinstance(data, str) else _decoded(data, place)
    if _depth_exceeds(text, max_depth):
        raise ValueError(f"{place} is not JSON that can be read: too many brackets in brackets (over {max_depth})")
    try:
        value: Json = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique if unique_keys else None,
        )
        if _SURROGATE.search(text):
            _refuse_halves(value)
    except json.JSONDecodeError as error:
        where = f"{place}:{error.lineno}" if "\n" in text.strip() else place
        raise ValueError(f"{where} is not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not JSON that can be read: {error}") from None
    return value


def parse_object(
    data: bytes | str, place: str, *, max_depth: int = MAX_DEPTH, unique_keys: bool = True
) -> dict[str, Json]:
    """As `parse_json`, and the value is an object."""
    value = parse_json(data, place, max_depth=max_depth, unique_keys=unique_keys)
    if not isinstance(value, dict):
        raise ValueError(f"{place} wants an object, got {_kind(value)}")
    return value


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> Json:
    """The value in the regular file `path`; raises ValueError naming file and line, OSError where it is missing."""
    return parse_json(read_regular(path, max_bytes), str(path))


def read_object(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Json]:
    """The object in the regular file `path`; raises as `read_json` does."""
    return parse_object(read_regular(path, max_bytes), str(path))


class Fields:
    """An object and its place. Each getter gives the value of one key as one kind, or raises ValueError with both.

    manifest = Fields.read(folder / "manifest.json")
    manifest.format(1)                                        # refuses what a newer release wrote
    rows = manifest.integer("rows", minimum=0) if manifest.has("rows") else None
    columns = {name: column.text("spec") for name, column in manifest.named("columns").items()}
    """

    def __init__(self, values: object, place: str) -> None:
        """Raises ValueError unless `values` is a mapping with text for keys."""
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise ValueError(f"{place} wants an object, got {_kind(values)}")
        self.values: dict[str, object] = values
        self.place = place

    @classmethod
    def read(cls, path: Path, max_bytes: int = MAX_BYTES) -> Fields:
        """Those of the object in the file `path`."""
        return cls(read_object(path, max_bytes), str(path))

    def has(self, key: str) -> bool:
        """Whether `key` is there and not null."""
        return self.values.get(key) is not None

    def only(self, known: Iterable[str]) -> None:
        """Raise where there is a key that is not `known`."""
        known = list(known)
        for key in self.values:
            if key not in known:
                raise ValueError(f"{self.place}: unknown key {key!a:.80}; known: {', '.join(known)}")

    def format(self, newest: int, key: str = "format") -> int:
        """The number of the format, from 1 to `newest`."""
        number = self.integer(key, minimum=1)
        if number > newest:
            raise ValueError(f"{self.place}: want format {newest} or older, got {number}, which a newer prunekit wrote")
        return number

    def text(self, key: str, choices: Sequence[str] | None = None) -> str:
        """Text, one of `choices` where they are given."""
        value = self._value(key)
        if not isinstance(value, str) or (choices is not None and value not in choices):
            raise self._wrong(key, "text" if choices is None else " or ".join(map(repr, choices)), value)
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._value(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def integer(self, key: str, minimum: int | None = None, maximum: int | None = None) -> int:
        """A whole number from `minimum` to `maximum`; true is none, 2.0 neither."""
        value = self._value(key)
        if type(value) is not int or not _is_within(value, minimum, maximum):
            raise self._wrong(key, f"a whole number{_bounds(minimum, maximum)}", value)
        return value

    def number(self, key: str, minimum: float | None = None, maximum: float | None = None) -> float:
        """A finite number from `minimum` to `maximum`."""
        return _number(self._value(key), f"{self.place}: {key}", minimum, maximum)

    def texts(self, key: str) -> list[str]:
        """A list of text."""
        return [item for item in self._list(key, str, "text") if isinstance(item, str)]

    def numbers(self, key: str, minimum: float | None = None, maximum: float | None = None) -> list[float]:
        """A list of finite numbers from `minimum` to `maximum`."""
        items = enumerate(self._list(key, object, "numbers"))
        return [_number(item, f"{self.place}: {key}[{at}]", minimum, maximum) for at, item in items]

    def fields(self, key: str) -> Fields:
        """An object."""
        return Fields(self._value(key), f"{self.place}: {key}")

    def list_of_fields(self, key: str) -> list[Fields]:
        """A list of objects."""
        return [Fields(item, f"{self.place}: {key}[{at}]") for at, item in enumerate(self._list(key, dict, "objects"))]

    def named(self, key: str) -> dict[str, Fields]:
        """An object of objects whose keys are names of files or folders, checked by `check_name`."""
        values = self.fields(key).values
        names = [check_name(name, f"{self.place}: {key}") for name in values]
        return {name: Fields(values[name], f"{self.place}: {key}: {name}") for name in names}

    def _value(self, key: str) -> object:
        if key not in self.values:
            raise ValueError(f"{self.place}: want a key {key!r}, got {_listed(self.values)}")
        return self.values[key]

    def _list(self, key: str, kind: type, wanted: str) -> list[object]:
        value = self._value(key)
        if not isinstance(value, list):
            raise self._wrong(key, f"a list of {wanted}", value)
        for at, item in enumerate(value):
            if not isinstance(item, kind):
                raise self._wrong(f"{key}[{at}]", f"one of a list of {wanted}", item)
        return value

    def _wrong(self, key: str, wanted: str, value: object) -> ValueError:
        return ValueError(f"{self.place}: {key}: want {wanted}, got {_shown(value)}")


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = ", but UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise ValueError(f"{place} is not UTF-8{hint}: byte {error.start} is 0x{data[error.start]:02x}") from None


def _depth_exceeds(text: str, most: int) -> bool:
    # a text with few brackets cannot be deep, and most have few
    if text.count("[") + text.count("{") <= most:
        return False
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        mark = found[0]
        depth += mark in "[{" or -(mark in "]}")
        if depth > most:
            return True
    return False


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        last = {key: at for at, (key, _) in enumerate(pairs)}
        twice = next(key for at, (key, _) in enumerate(pairs) if last[key] != at)
        raise ValueError(f"the key {twice!a:.80} stands twice in an object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text:.40} is too large")
    return value


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _refuse_halves(value: Json) -> None:
    waiting: list[Json] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{item!a:.80} holds half of a surrogate pair") from None
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            waiting += [*item, *item.values()]


def _number(value: object, place: str, minimum: float | None, maximum: float | None) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # a whole number of 400 digits is one of JSON, and no float
    if not is_number or not abs(value) < math.inf or not _is_within(value, minimum, maximum):  # type: ignore[arg-type]
        raise ValueError(f"{place}: want a number{_bounds(minimum, maximum)}, got {_shown(value)}")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise ValueError(f"{place}: want a number{_bounds(minimum, maximum)}, got one that is too large") from None


def _is_within(value: float, minimum: float | None, maximum: float | None) -> bool:
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def _bounds(minimum: float | None, maximum: float | None) -> str:
    least = "" if minimum is None else f" of at least {minimum}"
    most = "" if maximum is None else f" of at most {maximum}"
    return " and".join(filter(None, (least, most)))


def _kind(value: object) -> str:
    return {dict: "an object", list: "list", type(None): "null"}.get(type(value), type(value).__name__)


def _shown(value: object) -> str:
    # ascii: what a stranger wrote must not steer the terminal that shows the error
    return "null" if value is None else f"{value!a:.80}"


def _listed(keys: Iterable[str]) -> str:
    names = [f"{key!a:.40}" for key in keys]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "none"
