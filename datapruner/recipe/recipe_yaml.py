"""Recipes as YAML, read strictly: an unknown key or a value of another kind is refused with its place.

source: {path: corpus.jsonl, uid: id, group: source}   # or just the path; relative to the recipe's folder
scorers: [near_duplicate, "ppl=perplexity:model=gpt2"]
engine: local:workers=4
scores: scores                                         # folder of the score table; default: out + ".scores"
select:
- {selector: "threshold:maximum=0.8", by: near_duplicate}
- {where: "int_score >= 3"}                            # a field of the rows, or a column
- {selector: middle, by: {ppl: 0.7, length: 0.3}, keep_ratio: 0.5, per: source, quota: equal}
- {scorers: ["long=perplexity:window=4096"], by: long, keep_ratio: 0.5}   # scores what is left alone
out: {path: pruned, dropped: false}                    # or just the path
expect: {kept: 310, hash: 0123456789abcdef0123456789abcdef}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from datapruner.corpus.remote_files import is_url
from datapruner.corpus.source import Source
from datapruner.recipe.recipe import Expected, Output, Recipe, Rule
from datapruner.recipe.rule_options import WORDS, condition, options_of_rule, rule_from_options
from datapruner.scoring.scorer import Scorer
from datapruner.scoring.scorer_columns import scorers_by_column, text_form
from prunekernels.extras import require
from prunekernels.io.yaml_files import read_yaml

TOP = ("source", "scorers", "engine", "scores", "select", "out", "expect")
# types of fields, as they are written in the dataclasses, that YAML has
PLAIN = {"str": str, "int": int, "float": float, "bool": bool, "None": type(None)}
Made = TypeVar("Made")


def load(path: str | Path) -> Recipe:
    """The recipe in the file `path`; its relative paths start at the file's folder."""
    path = Path(path)
    read = read_yaml(path)
    try:
        return _recipe(read, path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def dump(recipe: Recipe) -> str:
    """`recipe` as YAML; what is at its default is left out."""
    out = {} if recipe.out is None else _changed(recipe.out)
    scores = out.pop("scores", None)
    out.pop("overwrite", None)
    plain = {
        "source": _changed(recipe.source),
        "scorers": [_scorer(item) for item in recipe.scorers],
        "engine": None if recipe.engine == "local" else recipe.engine,
        "scores": scores,
        "select": [options_of_rule(step) for step in recipe.select],
        "out": out or None,
        "expect": _changed(recipe.expect) or None,
    }
    kept = {key: value for key, value in plain.items() if value is not None}
    return require("yaml", "data").safe_dump(kept, sort_keys=False, allow_unicode=True, width=1000)


def _scorer(item: str | Scorer) -> str:
    """The text form of a scorer; raises ValueError for a class of somebody's own, which no other run could make."""
    text = item if isinstance(item, str) else text_form(item)
    scorers_by_column(text)
    return text


def _changed(item: Source | Output | Expected) -> dict[str, object]:
    """The fields of `item` that are not at their defaults, as YAML has them."""
    values = {f.name: (getattr(item, f.name), f.default) for f in dataclasses.fields(item)}
    return {name: _plain(value) for name, (value, default) in values.items() if value != default}


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return value.as_posix()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _recipe(read: object, folder: Path) -> Recipe:
    top = _mapping(read, "the recipe", TOP)
    for key in ("source", "select"):
        if key not in top:
            raise ValueError(f"the recipe: want a key {key!r}, got {', '.join(top) or 'none'}")
    source = _section(top["source"], "source", Source)
    path = source.get("path")
    source["path"] = [_at(item, folder) for item in _texts(path, "source.path")] if isinstance(path, list) else _at(
        _text(path, "source.path"), folder
    )  # fmt: skip
    steps = top["select"] if isinstance(top["select"], list) else [top["select"]]
    return Recipe(
        source=_build(Source, source),
        scorers=tuple(_texts(top.get("scorers", []), "scorers")),
        select=tuple(_step(step, f"select[{number}]") for number, step in enumerate(steps)),
        out=_output(top, folder),
        engine=_text(top.get("engine", "local"), "engine"),
        expect=_build(Expected, _section(top.get("expect", {}), "expect", Expected)),
    )


def _output(top: dict[str, object], folder: Path) -> Output | None:
    if "out" not in top:
        if "scores" in top:
            raise ValueError("the recipe: want out beside scores")
        return None
    if isinstance(top["out"], dict) and "overwrite" in top["out"]:
        # it may come from elsewhere: who runs it decides
        raise ValueError("out.overwrite: a recipe replaces nothing: want --overwrite on the command line")
    out = _section(top["out"], "out", Output)
    if "scores" in top:
        out["scores"] = _text(top["scores"], "scores")
    for key in ("path", "scores"):
        if key in out:
            out[key] = _at(_text(out[key], f"out.{key}"), folder)
    if "path" not in out:
        raise ValueError("out: want a key 'path'")
    return _build(Output, out)


def _step(read: object, place: str) -> Rule:
    is_condition = isinstance(read, dict) and "where" in read
    known = ("where", "scorers") if is_condition else (*WORDS, "scorers")
    step = _mapping({"selector": read} if isinstance(read, str) else read, place, known)
    try:
        if is_condition:
            made = condition(_text(step.pop("where"), "where"))
            return dataclasses.replace(made, scorers=rule_from_options(step).scorers)
        return rule_from_options(step)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _section(read: object, place: str, kind: type) -> dict[str, object]:
    """A mapping with fields of the dataclass `kind`, each of a plain type that the field takes; or just its path."""
    known = [field.name for field in dataclasses.fields(kind)]
    section = _mapping({"path": read} if isinstance(read, str | list) and "path" in known else read, place, known)
    hints = {field.name: str(field.type).split(" | ") for field in dataclasses.fields(kind)}
    for key, value in section.items():
        # which words a field takes, who has it checks
        plain = [PLAIN.get(hint, str) for hint in hints[key] if hint in PLAIN or hint.startswith("Literal[")]
        # true is no number here, and a number no truth
        fits = type(value) in plain or (type(value) is int and float in plain)
        if key != "path" and not fits:
            wanted = " or ".join("nothing" if item is type(None) else item.__name__ for item in plain)
            raise ValueError(f"{place}.{key}: want {wanted}, got {value!a:.80}")
    return section


def _build(kind: type[Made], fields: Mapping[str, object]) -> Made:
    return kind(**fields)


def _mapping(read: object, place: str, known: Sequence[str]) -> dict[str, object]:
    if not isinstance(read, dict):
        raise ValueError(f"{place}: want a mapping with {', '.join(known)}, got {read!a:.80}")
    for key in read:
        if key not in known:
            raise ValueError(f"{place}: unknown key {key!a:.80}; known: {', '.join(known)}")
    return dict(read)


def _text(read: object, place: str) -> str:
    if not isinstance(read, str):
        raise ValueError(f"{place}: want text, got {read!a:.80}")
    return read


def _texts(read: object, place: str) -> list[str]:
    items = [read] if isinstance(read, str) else read
    if not isinstance(items, list):
        raise ValueError(f"{place}: want a list of texts, got {read!a:.80}")
    return [_text(item, f"{place}[{number}]") for number, item in enumerate(items)]


def _at(text: str, folder: Path) -> str:
    """A path as `folder` sees it; addresses stay."""
    return text if is_url(text) else str(folder / text)
