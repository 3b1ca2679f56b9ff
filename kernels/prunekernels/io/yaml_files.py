"""YAML as people write settings: one document of a bounded size and depth, with plain values and nothing else.

Anchors and aliases are refused (a page of them can stand for gigabytes), so are tags, keys that stand twice or are no
text, and numbers that are not finite. Dates are text, as JSON has none. Errors are one line with the file's line.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from prunekernels.extras import require
from prunekernels.io.json_files import Json
from prunekernels.io.paths import read_regular

if TYPE_CHECKING:
    from yaml import Node

MAX_BYTES, MAX_DEPTH = 1 << 20, 32
_PREFIX = "tag:yaml.org,2002:"
_SCALARS = ("str", "int", "float", "bool", "null")


def read_yaml(path: Path, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Json:
    """The value in the regular file `path`; raises ValueError naming file and line, OSError where it is missing."""
    return parse_yaml(read_regular(path, max_bytes), str(path), max_depth)


def parse_yaml(data: bytes | str, place: str, max_depth: int = MAX_DEPTH) -> Json:
    """The value that `data` holds; raises ValueError, beginning with `place` and the line, for anything else."""
    yaml = require("yaml", "data")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        _check_events(text, place, max_depth)
        return _value(yaml.compose(text, Loader=yaml.SafeLoader), place)
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: want UTF-8, got byte 0x{error.object[error.start]:02x} at {error.start}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(f"{error.problem or error.context}".split())
        raise ValueError(f"{place}:{mark.line + 1 if mark else 1}: want YAML: {said}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{place}: want YAML: {' '.join(str(error).split())[:300]}") from None


def _check_events(text: str, place: str, max_depth: int) -> None:
    """Raise before anything is built: events come one at a time, and nothing is built of a deep text."""
    yaml, depth = require("yaml", "data"), 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = f"{place}:{event.start_mark.line + 1}"
        if getattr(event, "anchor", None) is not None:
            raise ValueError(f"{line}: want no anchors and aliases in YAML, got {event.anchor!a:.80}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > max_depth:
            raise ValueError(f"{line}: want YAML of at most {max_depth} levels, got more")


def _value(node: Node | None, place: str) -> Json:
    yaml = require("yaml", "data")
    if node is None:
        return None
    line = f"{place}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_PREFIX}seq":
        return [_value(item, place) for item in node.value]
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_PREFIX}map":
        found: dict[str, Json] = {}
        for key_node, item in node.value:
            key, where = _value(key_node, place), f"{place}:{key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                raise ValueError(f"{where}: want text as key, got {key!a:.80}")
            if key in found:
                raise ValueError(f"{where}: the key {key!a:.80} stands twice")
            found[key] = _value(item, place)
        return found
    kind = node.tag.removeprefix(_PREFIX)
    if isinstance(node, yaml.ScalarNode) and kind == "timestamp":
        return str(node.value)
    if not isinstance(node, yaml.ScalarNode) or kind not in _SCALARS:
        raise ValueError(f"{line}: want plain values, got one with the tag {node.tag!a:.80}")
    return _scalar(node, line)


def _scalar(node: Node, line: str) -> Json:
    yaml = require("yaml", "data")
    try:
        value: Json = yaml.constructor.SafeConstructor().construct_object(node)
    except ValueError as error:
        raise ValueError(f"{line}: want a value of YAML, got {node.value!a:.80}: {error}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{line}: want a finite number, got {node.value!a:.80}")
    return value
