"""Brings the rows of a GPU run home: `PYTHONPATH=.:kernels python -m benchmarks.gpu.merge FOLDER`.

Each table of the run becomes one record of benchmarks/results, the jobs that failed another one; the pages that show
them are written anew. Rows of a CPU are a rehearsal and stay out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import tables
from benchmarks.gpu.journal import OK, Journal
from benchmarks.gpu.worker import sources
from benchmarks.harness import RESULTS, append
from benchmarks.machine import ROOT, machine

PAGES = (ROOT / "README.md", ROOT / "docs" / "gpu.md")


def merge(folder: Path, results: Path = RESULTS, rehearsal: bool = False) -> list[Path]:
    """Append what `folder` holds to the records in `results`, unless they have it; returns what was written."""
    journal = Journal(folder)
    # the newest of each device
    sessions = {entry["machine"]["device"]: entry for entry in journal.entries() if "machine" in entry}
    if not sessions:
        raise SystemExit(f"no rows in {journal.path}")
    written = []
    for device, session in sessions.items():
        if not session["gpu"] and not rehearsal:
            raise SystemExit(f"rows of a CPU are a rehearsal: {device}")
        ended = journal.ended(device)
        measured_on = about(session["machine"], {entry["sources"] for entry in ended.values()})
        for name, rows in _tables(ended).items():
            run, path = {**measured_on, "rows": rows}, results / f"{name}.json"
            if not path.exists() or run not in json.loads(path.read_text("utf-8")):
                written.append(append(name, run, results))
    return written


def _tables(ended: dict[str, dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for job, entry in ended.items():
        for name, row in entry["rows"]:
            found.setdefault(name, []).append(row)
        if entry["status"] != OK:
            row = {"job": job, "how": entry["status"], "error": entry["error"]}
            found.setdefault("gpu_failed", []).append(row)
    return found


def about(measured_on: dict, digests: set[str], here_too: str | None = None) -> dict:
    """The machine of the rows, with the commit that they belong to where the code here is what ran there.

    `here_too` is the digest of the code here, by default of what a run of this folder hangs on.
    """
    here = machine()
    if digests != {here_too or sources()}:
        return {**measured_on, "dirty": True}
    return measured_on if measured_on["commit"] else {**measured_on, "commit": here["commit"], "dirty": here["dirty"]}


def main(words: Sequence[str] | None = None) -> None:
    """Merge, then write the pages."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu.merge", description="Bring the rows of a GPU run home.")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(words)
    for path in merge(options.folder):
        print(path)
    for page in PAGES:
        print(f"{page.name}: {'refreshed' if tables.refresh(page) else 'as it was'}")


if __name__ == "__main__":
    main()
