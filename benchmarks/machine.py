"""The machine, the versions and the commit that a benchmark ran on."""

from __future__ import annotations

import datetime
import importlib.util
import os
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent


def machine(folder: Path | None = None, device: torch.device | None = None) -> dict[str, object]:
    """What a record says of where it was taken; the commit is that of `folder`, by default of this repository.

    `device` is by default the GPU where there is one.
    """
    is_gpu = torch.cuda.is_available() if device is None else device.type == "cuda"
    has_triton = importlib.util.find_spec("triton") is not None
    commit, is_dirty = revision(folder or ROOT)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": is_dirty,
        "device": torch.cuda.get_device_name(device) if is_gpu else next(_cpu_names(), platform.machine()),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": importlib.import_module("triton").__version__ if has_triton else None,
    }


@cache
def revision(folder: Path) -> tuple[str | None, bool]:
    """The commit of `folder`, and whether anything else than results was changed since, as both were at the first call.

    A benchmark runs for minutes, in which commits are made and work trees are taken down: what ran is what stood there
    when it began. Without git nobody knows what ran.
    """
    changes = _git(folder, "status", "--porcelain", "--", ".", ":!benchmarks/results")
    return _git(folder, "rev-parse", "HEAD"), changes != ""


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], check=False, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_names() -> Iterator[str]:
    info = Path("/proc/cpuinfo")
    for line in info.read_text("utf-8").splitlines() if info.exists() else []:
        if line.startswith("model name"):
            yield f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
