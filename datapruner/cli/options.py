"""The options of the commands, each told of once.

Those that say what a corpus is, a step of selecting and an output have the names, types and defaults of `Source`, of
the words of recipes (`recipe/rule_options.py`) and of `Output`: command line, YAML and Python are one list of words.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, NamedTuple, TypeVar

import typer
from rich.markup import escape

from datapruner.corpus.source import Source
from datapruner.recipe.recipe import Output, Rule
from datapruner.recipe.recipe_yaml import PLAIN
from datapruner.recipe.rule_options import WORDS, condition, parse_weights, rule_from_options

Words = dict[str, object]
Command = TypeVar("Command", bound=Callable[..., None])
Made = TypeVar("Made")

SOURCE = {
    "text": 'Field with the text, a path as in "messages.0.content", or a template as in "{prompt}\\n{answer}".',
    "uid": "Field with a unique id; without it, content hash and occurrence.",
    "group": 'Field with the group (domain or class) of a row; "@file", "@folder": that it is in.',
    "label": "Field with the label of a row.",
    "image": "Field with an encoded image.",
    "tokens": "Tokenizer that counts tokens; without it they are estimated.",
    "chunk_rows": "Rows per chunk: what is read at once, and what a killed run may lose.",
    "chunk_bytes": "Bytes per chunk, at most.",
    "nested": "Enter the folders inside a folder.",
    "text_rows": 'What a row of a text file is, "line" or "file".',
    "on_error": 'Rows that cannot be used: "refuse", or "skip" and write them apart (skipped.jsonl).',
    "limit": "The first so many rows are the corpus, for a trial: no more is read.",
}
STEP = {
    "selector": 'Selector, as in "middle" or "threshold:minimum=0.2"; default: what the score is for.',
    "by": 'Column to select by, or weights of ranks as in "a=0.7,b=-0.3".',
    "keep_ratio": "Fraction of the rows that is kept, in (0, 1].",
    "keep_rows": "Rows that are kept.",
    "keep_tokens": "Tokens that are kept, at most.",
    "keep_token_ratio": "Fraction of the tokens that is kept, in (0, 1].",
    "counted_by": "Column that counts the tokens, made by the scorer tokens.",
    "per": "Group field: select inside each group.",
    "quota": 'How groups share what is kept: "kept", "equal" or "web=0.5,book=0.5".',
    "counts": 'Rows that each group keeps, as in "web=500,book=200".',
}
OUTPUT = {
    "scores": "Folder of the score table; `prune` makes it (default: OUT.scores), the report says more with it.",
    "overwrite": "Replace what is there.",
    "dropped": "Do not write the dropped rows.",
    "report": "Do not write report.html.",
    "index": "List the row numbers and uids of the kept rows, too.",
    "form": 'Form of the rows, "jsonl" or "parquet", compressed as in "jsonl.zst"; default: the input\'s.',
    "noted": "Kept rows get the field prunekit, too: uid, scores, and as of duplicates the nearest and the cluster.",
    "shard_rows": "Kept rows of a file, in folders kept/ and dropped/; without it one file each.",
    "workers": "Processes that write shards.",
}


class Option(NamedTuple):
    """An option: its type, its default, what it says, and its flag where it is one."""

    kind: object
    default: object
    says: str
    flag: str | None = None


def told(says: str) -> str:
    """`says` as help that is shown as it stands: brackets are no mark-up."""
    return escape(says)


def with_options(**groups: Mapping[str, Option]) -> Callable[[Command], Command]:
    """Let the parameters of a command that are called as `groups` be these options; it gets what was given of each."""

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters
        parameters: dict[str, inspect.Parameter] = {}
        for name, parameter in own.items():
            if name in groups:
                parameters |= {word: _parameter(word, option) for word, option in groups[name].items()}
            else:
                parameters[name] = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)

        def run(**given: object) -> None:
            for name, options in groups.items():
                given[name] = {word: given.pop(word) for word in options}
            command(**given)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature([*parameters.values()])  # type: ignore[attr-defined]
        run.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
        return typing.cast(Command, run)

    return decorate


def of_fields(kind: type, says: Mapping[str, str]) -> dict[str, Option]:
    """The fields of the dataclass `kind` as options; a truth is a flag that turns its default round."""
    made = {field.name: field for field in dataclasses.fields(kind)}
    found = {}
    for name, text in says.items():
        # of a path the text: `Path` would spoil a URL
        hint = str(made[name].type)
        # what a choice may be its class says
        hints = [str] if hint.startswith("Literal") else [PLAIN[part] for part in hint.split(" | ") if part in PLAIN]
        default, flag = made[name].default, None
        if hints == [bool]:
            flag = f"--{'no-' if default else ''}{name.replace('_', '-')}"
        found[name] = Option(reduce(or_, hints), default, text, flag)
    return found


def of_words(words: Mapping[str, type], says: Mapping[str, str]) -> dict[str, Option]:
    """Words of a recipe as options, none of them said."""
    return {name: Option(words[name] | None, None, text) for name, text in says.items()}


def source_of(files: Sequence[str], given: Mapping[str, object]) -> Source:
    """The source of the options; in a template a backslash and n, which shells leave alone, is a line break."""
    text = given.get("text")
    plain = {"text": text.replace("\\n", "\n")} if isinstance(text, str) and "{" in text else {}
    turned = {name: given[name] != SOURCE_OPTIONS[name].default for name in given if SOURCE_OPTIONS[name].flag}
    return _made(Source, {"path": [*files], **given, **plain, **turned})


def output_of(out: str, given: Mapping[str, object]) -> Output:
    """The output of the options; a flag that was given turns its default round."""
    turned = {name: given[name] != option.default for name, option in OUTPUT_OPTIONS.items() if option.flag}
    return _made(Output, {"path": out, **given, **turned})


def rules_of(given: Mapping[str, object], where: Sequence[str] = ()) -> tuple[Rule, ...]:
    """The steps of the options: the conditions, then the selector."""
    words = dict(given)
    for name in ("by", "quota", "counts"):
        if isinstance(text := words.get(name), str):
            words[name] = parse_weights(text)
    return (*map(condition, where), rule_from_options(words))


def _parameter(word: str, option: Option) -> inspect.Parameter:
    flags = [] if option.flag is None else [option.flag]
    default = False if option.flag is not None else option.default
    annotation = Annotated[option.kind, typer.Option(*flags, help=told(option.says))]  # type: ignore[name-defined]
    return inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _made(kind: type[Made], fields: Mapping[str, object]) -> Made:
    return kind(**fields)


SOURCE_OPTIONS = of_fields(Source, SOURCE)
STEP_OPTIONS = of_words(WORDS, STEP)
OUTPUT_OPTIONS = of_fields(Output, OUTPUT)
