"""The core's primitives side by side with what a user would write, and with the floor measured in the same run.

    PYTHONPATH=.:kernels python benchmarks/kernels.py        runs the tests first; red tests stop it
    ... benchmarks/kernels.py --only page_rank               some cases, neither tested first nor recorded

The cases stand in kernel_cases.py, the peers in kernel_peers.py. A row is one case against one peer, and is taken
only where both results agree (kernel_checks.py). A peer that is missing or fails costs its own row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.harness import Timing, copy_bandwidth, gemm_rate, input_sets, measure, record, require_green
from benchmarks.kernel_cases import HALF, IS_GPU, Case, Peer, Tensors, cases

NAMES = (
    "farthest_point", "dpp_map", "page_rank", "bipartite_merge", "attention_received", "token_stats", "el2n",
    "max_cosine", "kmeans",
)  # fmt: skip

# on a CPU a first call of so many seconds is the only one: warming up changes little there
ONCE = 5.0


@dataclass(frozen=True)
class Row:
    """Milliseconds as p20 / p50 / p80; the floor is the larger of FLOPs over GEMM rate and bytes over copy rate."""

    case: str
    peer: str
    ours_ms: Timing
    peer_ms: Timing
    speed_up: float
    floor_ms: float
    over_floor: float
    note: str


@dataclass(frozen=True)
class Outcome:
    """What the first inputs gave, how long a call takes, and the bytes it took beside them (0 on a CPU)."""

    result: object
    time: Timing
    extra_bytes: int


class Bench:
    """Times cases against the floors of this machine; keeps the rows, and what went wrong with our side."""

    def __init__(self, copy: float, rates: dict[torch.dtype, float]) -> None:
        self.copy, self.rates = copy, rates
        self.rows: list[Row] = []
        self.wrong: list[str] = []
        # cases that share inputs and a peer share its outcome: the slow ones run once
        self._peers: dict[tuple[object, Peer], Outcome] = {}

    def run(self, case: Case) -> None:
        """Add a row for each peer that ran and agreed."""
        try:
            inputs = input_sets(case.make, at_most=case.at_most)
            ours = outcome(case.ours, inputs)
        except Exception as error:  # noqa: BLE001
            # the other cases are worth their time whatever broke here
            self._report(f"{case.name}: {_reason(error)}")
            return
        floor = 1e3 * max(case.flops / self.rates[inputs[0][0].dtype], case.n_bytes / self.copy)
        for peer in case.peers:
            try:
                theirs = self._outcome(case, peer, inputs)
            except Exception as error:  # noqa: BLE001
                # a package that is missing, memory that is not there, a kernel that does not compile
                print(f"{case.name}, {peer.name}: skipped, {_reason(error)}", flush=True)
                continue
            try:
                notes = [peer.check(inputs[0], ours.result, theirs.result), _memory(case, ours, theirs)]
            except Exception as error:  # noqa: BLE001
                # unequal results, or too little memory left to compare them: no row either way
                self._report(f"{case.name}, {peer.name}: {_reason(error)}")
                continue
            speed_up, note = theirs.time.p50 / ours.time.p50, "; ".join(filter(None, notes))
            row = Row(case.name, peer.name, ours.time, theirs.time, speed_up, floor, ours.time.p50 / floor, note)
            self.rows.append(row)
            print(
                f"{row.case}: {row.ours_ms.p50:.3g} ms, {row.peer} {row.peer_ms.p50:.3g} ms, {row.speed_up:.3g} x, "
                f"floor {row.floor_ms:.3g} ms, {row.note or 'equal'}", flush=True,
            )  # fmt: skip

    def _outcome(self, case: Case, peer: Peer, inputs: Sequence[Tensors]) -> Outcome:
        key = case.make, peer
        if key not in self._peers:
            self._peers[key] = outcome(peer.run, inputs)
        return self._peers[key]

    def _report(self, text: str) -> None:
        print(f"no row: {text}", flush=True)
        self.wrong.append(text)


def outcome(run: Callable[..., object], inputs: Sequence[Tensors]) -> Outcome:
    """Call `run` on the first inputs, then time it on all of them."""
    before = _memory_peak(start=True)
    start = time.perf_counter()
    result = run(*inputs[0])
    first = time.perf_counter() - start
    extra = _memory_peak() - before
    if first >= ONCE and not IS_GPU:
        return Outcome(result, Timing(1e3 * first, 1e3 * first, 1e3 * first), extra)
    return Outcome(result, measure(run, inputs, warmup=0, repeats=10, seconds=4), extra)


def _memory_peak(start: bool = False) -> int:
    """The most bytes of the GPU held since the last `start`."""
    if not IS_GPU:
        return 0
    if start:
        torch.cuda.reset_peak_memory_stats()
    return torch.cuda.max_memory_allocated()


def _memory(case: Case, ours: Outcome, theirs: Outcome) -> str:
    if not case.logits_bytes or not IS_GPU:
        return ""
    shares = [f"{100 * each.extra_bytes / case.logits_bytes:.2g}" for each in (ours, theirs)]
    return f"memory {' / '.join(shares)} % of the logits"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def main(words: Sequence[str] | None = None) -> None:
    """Run the tests, then every case; append the record."""
    parser = argparse.ArgumentParser(description="Time the core's primitives against their peers.")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases with these words in their name, unrecorded")
    parser.add_argument("--no-record", action="store_true", help="all cases, neither tested first nor recorded")
    options = parser.parse_args(words)
    chosen = [case for case in cases() if options.only in case.name]
    if not chosen:
        raise SystemExit(f"no case has {options.only!r} in its name")
    is_recorded = not options.only and not options.no_record
    if is_recorded:
        require_green([f"tests/kernels/test_{name}.py" for name in NAMES])
    torch.set_num_threads(2)
    bench = Bench(copy_bandwidth(), {dtype: gemm_rate(dtype) for dtype in {torch.float32, HALF}})
    for case in chosen:
        bench.run(case)
        if IS_GPU:
            # what a large case held must not make the next one fail
            torch.cuda.empty_cache()
    if is_recorded:
        print(record("kernels", bench.rows))
    if bench.wrong:
        raise SystemExit("\n".join(["wrong:", *bench.wrong]))


if __name__ == "__main__":
    main()
