"""The dataset card of a pruned corpus: what it was made from, how, and how much is left. No time, no place."""

from __future__ import annotations

from datapruner.corpus.fingerprint import FileFingerprint
from datapruner.selection.selection import Selection
from datapruner.selection.step import Step


def dataset_card(selection: Selection, kept_file: str) -> str:
    """The card in Markdown, with a YAML head by which `datasets` loads the kept rows."""
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
        f"`{kept_file}` has the kept rows in the order and form of the input. `selection.parquet` has the decision",
        "for every row.",
        "",
        "## Why rows were dropped",
        "",
        *_table(["rows", "reason"], [[f"{n:,}", text] for text, n in _by_count(selection)]),
        "",
        "## How rows were selected",
        "",
    ]
    for number, step in enumerate(selection.steps, start=1):
        lines += [f"{number}. {_step(step)}"]
    lines += ["", "## What it was made from", "", "Fields: " + _fields(selection) + ".", ""]
    files = [[f["name"], f"{f['bytes']:,}", f"`{f['blake2b']}`{_of(f)}"] for f in selection.input["files"]]
    return "\n".join([*lines, *_table(["file", "bytes", "BLAKE2b"], files), ""])


def _by_count(selection: Selection) -> list[tuple[str, int]]:
    return sorted(selection.counts().items(), key=lambda item: (-item[1], item[0]))


def _step(step: Step) -> str:
    by = "" if step["by"] is None else f" by `{step['by']}`"
    words = {"ratio": "keep_ratio"}
    asked = "".join(f", {words.get(name, name)} {value}" for name, value in step["budget"].items())
    per = "" if step["per"] is None else f", inside each `{step['per']}`"
    for word in ("quota", "counts"):
        if step[word] not in (None, "kept"):
            per += f" with {word} {step[word]}"
    text = f"`{step['selector']}`{by}{asked}{per}: {step['kept']:,} of {step['rows']:,} rows"
    for warning in step["warnings"]:
        text += f"\n   - {warning}"
    for name, column in step["columns"].items():
        hashes = "".join(f", {key} {value}" for key, value in column["identity"].items())
        text += (
            f"\n   - `{name}` is `{column['spec']}` ({column['direction']}), version {column['version']}, "
            f"prunekit {column['package']}{hashes}"
        )
    return text


def _fields(selection: Selection) -> str:
    used = selection.input["fields"]
    uid = "content hash and occurrence" if used["uid"] is None else f"`{used['uid']}`"
    named = [f"{name} `{used[name]}`" for name in ("text", "image", "group", "label") if used.get(name) is not None]
    tokens = "" if used.get("tokens") is None else f"; tokens by {used['tokens']}"
    return f"{', '.join([*named, f'uid {uid}'])}{tokens}"


def _of(file: FileFingerprint) -> str:
    return f" (of {file['of']})" if "of" in file else ""


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    clean = [
        [cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [head, ["---"] * len(head), *rows]
    ]
    return [f"| {' | '.join(row)} |" for row in clean]
