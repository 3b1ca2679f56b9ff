"""A worker on the GPU: `python -m benchmarks.gpu.stage OUT STAGE ...`, as __main__.py starts it."""

from __future__ import annotations

import os

import torch

from benchmarks.gpu.jobs import jobs
from benchmarks.gpu.journal import Journal
from benchmarks.gpu.worker import Worker, arguments, sources
from benchmarks.machine import machine


def is_broken() -> bool:
    """An illegal access spoils the context for good: every later call would fail with it."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError as error:
        print(f"the context is spoiled: {error}", flush=True)
        return True
    return False


def main() -> None:
    """Do one stage, or a part of it."""
    options, is_gpu = arguments(), torch.cuda.is_available()
    if not is_gpu:
        # read when triton is imported
        os.environ["TRITON_INTERPRET"] = "1"
    journal, here = Journal(options.out), machine()
    device = str(here["device"])
    journal.append({"machine": here, "gpu": is_gpu, "stage": options.stage, "sources": sources()})
    Worker(journal, device, options, is_broken).work(jobs(options.stage, journal, device))


if __name__ == "__main__":
    main()
