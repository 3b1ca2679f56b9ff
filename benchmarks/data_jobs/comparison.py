"""One job for several tools: what each makes of the same input, and how good that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# numbers by their names: the same names for all tools of a job
Quality = dict[str, float]
# does the job and says how good the result is; a tool's loading of packages happens in here, too
Run = Callable[[], Quality]


@dataclass(frozen=True)
class Peer:
    """Another tool: the package as the registry calls it, its run, and how many times our CPU time it takes at least.

    `note` says what is not the same, and where it is faster, why.
    """

    package: str
    run: Run
    target: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """`size` says what the input is."""

    job: str
    size: str
    ours: Run
    peers: Sequence[Peer]


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """JSON lines."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def recall_precision(found: Iterable[object], wanted: Iterable[object]) -> Quality:
    """Of what was wanted how much was found, and of what was found how much was wanted."""
    found, wanted = set(found), set(wanted)
    both = len(found & wanted)
    return {"recall": both / max(1, len(wanted)), "precision": both / max(1, len(found))}
