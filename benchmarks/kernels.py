"""The core's primitives on a CPU side by side with what a user would write, and with the floor of the same run.

    PYTHONPATH=.:kernels python -m benchmarks.kernels        runs the tests first; red tests stop it
    ... benchmarks/kernels.py --only page_rank               some cases, neither tested first nor recorded
    PYTHONPATH=.:OTHER/kernels ... --record kernels_before   the kernels of another checkout

The cases stand in kernel_lists.py, the peers in kernel_peers.py. A row is one case against one peer, and is taken
only where both results agree (kernel_checks.py). A peer that is missing or fails costs its own row. `make gpu` measures
on a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

import prunekernels
from benchmarks.harness import append, copy_bandwidth, gemm_rate, require_green
from benchmarks.kernel_cases import IS_GPU
from benchmarks.kernel_lists import cpu_cases
from benchmarks.kernel_rows import Bench
from benchmarks.machine import ROOT, machine

NAMES = (
    "farthest_point", "dpp_map", "page_rank", "bipartite_merge", "attention_received", "token_stats", "el2n",
    "max_cosine", "kmeans", "select", "segments",
)  # fmt: skip


def main(words: Sequence[str] | None = None) -> None:
    """Run the tests, then every case; append the record."""
    parser = argparse.ArgumentParser(description="Time the core's primitives against their peers.")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases with these words in their name, unrecorded")
    parser.add_argument("--no-record", action="store_true", help="all cases, neither tested first nor recorded")
    parser.add_argument("--record", default="kernels", metavar="NAME", help="of the file in benchmarks/results")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    options = parser.parse_args(words)
    if IS_GPU:
        raise SystemExit("this benchmark is one of CPUs; make gpu measures on a GPU")
    chosen = [case for case in cpu_cases() if options.only in case.name]
    if not chosen:
        raise SystemExit(f"no case has {options.only!r} in its name")
    is_recorded = not options.only and not options.no_record
    # another checkout's kernels may stand on the path, to have a before and an after; their tests stand there too
    folder = Path(prunekernels.__file__).parent
    if is_recorded and folder.is_relative_to(ROOT):
        require_green([f"tests/kernels/test_{name}.py" for name in NAMES])
    torch.set_num_threads(options.threads)
    bench = Bench(copy_bandwidth(), {dtype: gemm_rate(dtype) for dtype in (torch.float32, torch.bfloat16)})
    for case in chosen:
        bench.run(case)
    if is_recorded:
        print(append(options.record, {**machine(folder), "rows": [asdict(row) for row in bench.rows]}))
    if bench.wrong:
        raise SystemExit("\n".join(["wrong:", *bench.wrong]))


if __name__ == "__main__":
    main()
