"""The dataset card of a pruned corpus: what it was made from, how, and how much is left. No time, no place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from datapruner.corpus.fingerprint import FileFingerprint
from datapruner.selection.selection import Selection
from datapruner.selection.step import Step
from prunekernels.io.escape import markdown_code, one_line

Value = TypeVar("Value")

# what is told of each kind: of the others their number
MOST_LINES = 25
BUDGETS = {"ratio": "keep_ratio", "rows": "rows", "tokens": "tokens", "token_ratio": "token_ratio"}


def dataset_card(selection: Selection, kept_file: str, form: str | None = None) -> str:
    """The card in Markdown, with a YAML head by which `datasets` loads the kept rows, in the input's form or `form`.

    Names, reasons and hashes come out of files: they stand as code, and their number is bounded.
    """
    n_rows, n_kept = selection.n_rows, selection.n_kept
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        f"  data_files: {kept_file if '.' in kept_file else f'{kept_file}/**'}",
        "tags:",
        "- prunekit",
        "---",
        "# Pruned corpus",
        "",
        f"{n_kept:,} of {n_rows:,} rows are kept ({_share(n_kept, n_rows)}), {n_rows - n_kept:,} are dropped.",
        f"`{kept_file}` has the kept rows in the order {'and form ' if form is None else ''}of the input"
        f"{'' if form is None else f', as {form}'}. `selection.parquet` has the decision",
        "for every row.",
        "",
        "## Why rows were dropped",
        "",
        *_table(["rows", "reason"], _reasons(selection)),
        "",
        "## How rows were selected",
        "",
    ]
    for number, step in enumerate(selection.steps[:MOST_LINES], start=1):
        lines += [f"{number}. {_step(step)}"]
    if len(selection.steps) > MOST_LINES:
        lines += [f"\nand {len(selection.steps) - MOST_LINES:,} more steps"]
    lines += ["", "## What it was made from", "", "Fields: " + _fields(selection) + ".", ""]
    return "\n".join([*lines, *_table(["file", "bytes", "BLAKE2b"], _files(selection)), ""])


def _reasons(selection: Selection) -> list[list[str]]:
    """The most common first; of those that are not told, how many there are."""
    found = sorted(selection.counts().items(), key=lambda item: (-item[1], item[0]))
    lines = [[f"{n:,}", _code(text)] for text, n in found[:MOST_LINES]]
    if others := found[MOST_LINES:]:
        lines.append([f"{sum(n for _, n in others):,}", f"{len(others):,} other reasons"])
    return lines


def _step(step: Step) -> str:
    by = "" if step["by"] is None else f" by {_code(step['by'])}"
    asked = "".join(f", {BUDGETS.get(key) or _code(key)} {_number(value)}" for key, value in _first(step["budget"]))
    per = "" if step["per"] is None else f", inside each {_code(step['per'])}"
    for word in ("quota", "counts"):
        if step[word] not in (None, "kept"):
            per += f" with {word} {'equal' if step[word] == 'equal' else _code(step[word])}"
    rows = f"{_number(step['kept'])} of {_number(step['rows'])} rows"
    text = f"{_code(step['selector'])}{by}{asked}{per}: {rows}"
    for warning in step["warnings"][:MOST_LINES]:
        text += f"\n   - {_code(warning)}"
    for name, column in _first(step["columns"]):
        hashes = "".join(f", {_code(key)} {_code(value)}" for key, value in _first(column["identity"]))
        text += (
            f"\n   - {_code(name)} is {_code(column['spec'])} ({_code(column['direction'])}), "
            f"version {_number(column['version'])}, prunekit {_code(column['package'])}{hashes}"
        )
    if len(step["columns"]) > MOST_LINES:
        text += f"\n   - and {len(step['columns']) - MOST_LINES:,} more columns"
    return text


def _fields(selection: Selection) -> str:
    used = selection.input["fields"]
    uid = "content hash and occurrence" if used["uid"] is None else _code(used["uid"])
    named = [
        f"{name} {_code(used[name])}" for name in ("text", "image", "group", "label") if used.get(name) is not None
    ]
    tokens = "" if used.get("tokens") is None else f"; tokens by {_code(used['tokens'])}"
    return f"{', '.join([*named, f'uid {uid}'])}{tokens}"


def _files(selection: Selection) -> list[list[str]]:
    files = selection.input["files"]
    lines = [[_code(f["name"]), _number(f["bytes"]), f"{_code(f['blake2b'])}{_of(f)}"] for f in files[:MOST_LINES]]
    if len(files) > MOST_LINES:
        lines.append([f"and {len(files) - MOST_LINES:,} more files", "", ""])
    return lines


def _of(file: FileFingerprint) -> str:
    return f" (of {_code(file['of'])})" if "of" in file else ""


def _code(value: object) -> str:
    """What a file says stands as code: no mark-up, no link, and to be read as it is."""
    return markdown_code(one_line(str(value)))


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else _code(value)


def _first(items: Mapping[str, Value]) -> list[tuple[str, Value]]:
    return [*items.items()][:MOST_LINES]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
