"""Evaluations as YAML, read strictly, in the words of recipes.

source: {path: train.jsonl, uid: id, label: intent}   # or just the path; relative to the file's folder
test: test.jsonl                                       # the same fields, or a section of its own
proxy: "linear_probe:vectors=embedding"
scorers: ["embedding=hashed_ngrams", el2n]
candidates:
- {selector: top, by: el2n}
- {name: calibrated, selector: calibrated, by: el2n}
- name: no copies, then the middle
  select: [{selector: "threshold:maximum=0.8", by: near_duplicate}, {selector: middle, by: el2n}]
keep_ratios: [0.1, 0.3, 0.6]
baselines: [stratified, rs2, distillation]             # beside all rows and random, which always are
steps: 1000
seeds: {training: 5, selection: 5, scoring: 1}
observe: {epochs: 10, early: 2, runs: 5}
margin: 0.005
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TypeVar

from datapruner.corpus.remote_files import is_url
from datapruner.corpus.source import Source
from datapruner.evaluation.settings import Candidate, Evaluation, Observe, Seeds, candidate_name
from datapruner.recipe.recipe import Rule
from datapruner.recipe.rule_options import WORDS, condition, rule_from_options
from prunekernels.io.json_files import Fields
from prunekernels.io.yaml_files import read_yaml

TOP = ("source", "test", "proxy", "scorers", "candidates", "keep_ratios", "budget", "baselines", "steps", "checks",
       "margin", "seeds", "observe")  # fmt: skip
OWN_WORDS = ("name", "select", "weighted")
# of a candidate, or of a step of one that has several; how much the last keeps is said for all of them
STEP_WORDS = (*(word for word in WORDS if not word.startswith("keep_")), "where")
Made = TypeVar("Made")


def load(path: str | Path) -> Evaluation:
    """The evaluation in the file `path`; raises ValueError with the place of what is wrong."""
    path = Path(path)
    try:
        return _evaluation(Fields(read_yaml(path), "the evaluation"), path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error


def _evaluation(top: Fields, folder: Path) -> Evaluation:
    top.only(TOP)
    source = _source(top, "source", folder, None)
    made: dict[str, object] = {
        "source": source,
        "test": _source(top, "test", folder, source),
        "proxy": top.text("proxy"),
        "candidates": tuple(map(_candidate, top.list_of_fields("candidates"))),
    }
    if top.has("scorers"):
        made["scorers"] = tuple(top.texts("scorers"))
    if top.has("keep_ratios"):
        made["keep_ratios"] = tuple(top.numbers("keep_ratios"))
    if top.has("baselines"):
        made["baselines"] = tuple(top.texts("baselines"))
    if top.has("budget"):
        made["budget"] = top.text("budget")
    if top.has("margin"):
        made["margin"] = top.number("margin", minimum=0)
    for name in ("steps", "checks"):
        if top.has(name):
            made[name] = top.integer(name, minimum=1)
    for name, kind in (("seeds", Seeds), ("observe", Observe)):
        if top.has(name):
            made[name] = _counts(top.fields(name), kind)
    return _build(Evaluation, made)


def _source(top: Fields, key: str, folder: Path, like: Source | None) -> Source:
    """A corpus of its own fields, or of those of `like`."""
    if not top.has(key):
        raise ValueError(f"{top.place}: want a key {key!r}, got {', '.join(top.values) or 'none'}")
    given = top.values[key]
    section = Fields({"path": given} if isinstance(given, str | list) else given, f"{top.place}: {key}")
    plain = [field.name for field in dataclasses.fields(Source)]
    section.only(plain)
    words = {name: value for name, value in section.values.items() if name != "path"}
    paths = [section.text("path")] if isinstance(section.values.get("path"), str) else section.texts("path")
    words["path"] = [text if is_url(text) else str(folder / text) for text in paths]
    for name, value in words.items():
        wanted = {"nested": bool, "chunk_rows": int, "chunk_bytes": int, "limit": int}.get(name, str)
        if name != "path" and value is not None and type(value) is not wanted:
            raise ValueError(f"{section.place}: {name}: want {wanted.__name__}, got {value!a:.80}")
    return _build(Source, words) if like is None else dataclasses.replace(like, **{"limit": None, **words})  # type: ignore[arg-type]


def _candidate(read: Fields) -> Candidate:
    if read.has("select"):
        read.only(OWN_WORDS)
        steps = tuple(map(_step, read.list_of_fields("select")))
    else:
        read.only((*OWN_WORDS, *STEP_WORDS))
        words = {key: value for key, value in read.values.items() if key not in OWN_WORDS}
        steps = (_step(Fields(words, read.place)),)
    name = read.text("name") if read.has("name") else candidate_name(steps)
    return Candidate(name, steps, read.flag("weighted") if read.has("weighted") else True)


def _step(read: Fields) -> Rule:
    """A step; one before the last may also say how much it keeps."""
    read.only((*WORDS, "where"))
    try:
        if read.has("where"):
            read.only(("where",))
            return condition(read.text("where"))
        return rule_from_options(read.values)
    except ValueError as error:
        raise ValueError(str(error) if read.place in str(error) else f"{read.place}: {error}") from error


def _counts(read: Fields, kind: type[Made]) -> Made:
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    read.only(names)
    return _build(kind, {name: read.integer(name, minimum=1) for name in names if read.has(name)})


def _build(kind: type[Made], fields: dict[str, object]) -> Made:
    return kind(**fields)
