"""Compiles every kernel ahead of time with the Triton releases that torch 2.6 to the newest bring, without a GPU.

    PYTHONPATH=.:kernels python -m benchmarks.triton_versions FOLDER [RELEASE ...]

Each release is installed alone into a folder of its own under FOLDER, where it is found again, and stands before the
installed one on the path; torch is shared. The record is written after each release. A release's own compiler may not
know a capability: its row then says so with the first error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import RESULTS
from benchmarks.machine import ROOT

# what torch 2.6, 2.7, 2.8, 2.9, 2.10 and 2.11, 2.12 and 2.13 on CUDA, and newer ones bring
RELEASES = ("3.2.0", "3.3.1", "3.4.0", "3.5.1", "3.6.0", "3.7.0", "3.8.0", "3.9.0")


CAPABILITIES = (75, 80, 86, 90, 120)


@dataclass(frozen=True)
class Row:
    """`fitting` of `forms` compile and fit the shared memory of a program; `error` is the first of the others'."""

    release: str
    capability: int
    forms: int
    fitting: int
    error: str


def install(release: str, folder: Path) -> Path:
    """The folder of a release, installed where it is not there yet."""
    place = folder / release
    if not place.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place)]
        subprocess.run([*command, f"triton=={release}"], check=True)
    return place


def compiled(release: str, place: Path, capability: int) -> Row:
    """What one compute capability gets, by a process of its own: some compilers end it where they fail."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    with tempfile.TemporaryDirectory() as cache:
        environment |= {"PYTHONPATH": os.pathsep.join([str(place), str(ROOT / "kernels")]), "TRITON_CACHE_DIR": cache}
        command = [sys.executable, "tests/kernels/compiling.py", str(capability)]
        done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    needs, errors = [json.loads(line) for line in done.stdout.splitlines()], []
    for need in needs:
        if "error" in need:
            errors.append(f"{need['kernel']}: {need['error'].splitlines()[-1].replace(f'{Path.cwd()}/', '')[:200]}")
        elif need["shared"] > need["shared_limit"]:
            errors.append(f"{need['kernel']}: {need['shared']} bytes of shared memory")
    fitting = len(needs) - len(errors)
    if done.returncode:
        errors.append(f"the compiler ended with {done.returncode} at form {len(needs) + 1}")
    return Row(release, capability, len(needs), fitting, (errors or [""])[0])


def main() -> None:
    """Replace the rows of the releases asked for in results/triton_versions.json."""
    if len(sys.argv) < 2:
        raise SystemExit("want a folder for the releases")
    path = RESULTS / "triton_versions.json"
    for release in sys.argv[2:] or RELEASES:
        place = install(release, Path(sys.argv[1]))
        rows = [compiled(release, place, capability) for capability in CAPABILITIES]
        kept = json.loads(path.read_text("utf-8")) if path.exists() else []
        kept = [row for row in kept if row["release"] != release] + [vars(row) for row in rows]
        kept.sort(key=lambda row: ([*map(int, row["release"].split("."))], row["capability"]))
        path.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        for row in rows:
            fits = f"{row.fitting} of {row.forms} forms compile and fit"
            print(f"triton {release}, capability {row.capability}: {fits} {row.error}", flush=True)


if __name__ == "__main__":
    main()
