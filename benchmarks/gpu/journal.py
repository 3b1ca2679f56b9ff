"""The rows of a run on disk, one JSON object a line, each there before the next job starts.

A line is a session ({"machine": ...}), the start of a job ({"start": name, "worker": ...}) or its end ({"job": name,
"status": ..., "rows": [[table, row], ...]}). A line that a crash cut short is passed over. Standard library only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

OK, FAILED, DIED, TIMEOUT = "ok", "failed", "died", "timeout"


class Journal:
    """`folder`/rows.jsonl, to which several processes append."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "rows.jsonl"

    def append(self, entry: dict[str, object]) -> None:
        """Write one line and wait until the disk has it."""
        line = json.dumps(entry, allow_nan=False) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # one call, so that lines of two processes do not mix
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def repair(self) -> None:
        """End a line that was cut short, so that the next one stands for itself."""
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")

    def entries(self) -> Iterator[dict]:
        """Every whole line, in order."""
        for line in self.path.read_bytes().splitlines() if self.path.exists() else []:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry

    def ended(self, device: str) -> dict[str, dict]:
        """The newest end of each job on `device`, by name."""
        return {entry["job"]: entry for entry in self.entries() if "job" in entry and entry["device"] == device}

    def done(self, device: str, sources: str) -> set[str]:
        """Jobs that need not run again: those that went well, and those that failed with the code as it is."""
        ended = self.ended(device).items()
        return {name for name, entry in ended if entry["status"] == OK or entry["sources"] == sources}

    def latest(self, worker: str) -> dict | None:
        """The newest start or end of a job by `worker`."""
        return next((entry for entry in reversed([*self.entries()]) if entry.get("worker") == worker), None)
