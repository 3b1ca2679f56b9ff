"""A corpus for the data engines, its rows with ids, metadata and a source, and the file that it stands in."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = ["the", "dome", "was", "begun", "in", "spring", "and", "tickets", "cost", "thirty", "euros", "at", "noon"]
ROWS = [
    {
        "id": f"row-{number}",
        "text": " ".join(WORDS[(number * 5 + place) % len(WORDS)] for place in range(1 + number * 7 % 11)),
        "metadata": {"source": "web" if number % 3 else "books", "nested": {"year": 1990 + number}, "größe": None},
    }
    for number in range(12)
]


def write_corpus(folder: Path, n_files: int = 2) -> Path:
    """The rows as JSON lines, shared out to `n_files` files."""
    folder.mkdir()
    for number in range(n_files):
        lines = [json.dumps(row, ensure_ascii=False) for row in ROWS[number::n_files]]
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def read_rows(folder: Path) -> dict[str, dict[str, object]]:
    """All rows of the JSON lines in `folder`, by id; each id once."""
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]
    rows = [json.loads(line) for line in lines]
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows)
    return found
