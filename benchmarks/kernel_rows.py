"""Rows of the kernels' benchmarks: one case against one peer, timed in turn, taken only where both results agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.harness import Repeats, Timing, input_sets, measure_in_turn, quantiles
from benchmarks.kernel_cases import IS_GPU, Case, Peer, Target, Tensors

# on a CPU a first call of so many seconds is the only one: warming up changes little there
ONCE = 5.0


@dataclass(frozen=True)
class Row:
    """Milliseconds as p20 / p50 / p80; the floor is the larger of FLOPs over GEMM rate and bytes over copy rate.

    Without a peer that ran, what is known of ours stands alone.
    """

    case: str
    peer: str
    ours_ms: Timing
    peer_ms: Timing | None
    speed_up: float | None
    floor_ms: float | None
    over_floor: float | None
    target: str
    note: str


@dataclass
class Outcome:
    """What the first inputs gave, seconds of that call, the bytes it took beside them (0 on a CPU), later calls."""

    run: Callable[..., object]
    result: object
    seconds: float
    extra_bytes: int
    times: list[float] = field(default_factory=list)


class Bench:
    """Times cases against the floors of this machine; keeps the rows, the peers left out, what is wrong with ours."""

    def __init__(
        self, copy: float | None, rates: dict[torch.dtype, float], repeats: int = 10, seconds: float = 8
    ) -> None:
        self.copy, self.rates = copy, rates
        self.repeats, self.seconds = repeats, seconds
        self.rows: list[Row] = []
        self.skipped: list[str] = []
        self.wrong: list[str] = []
        # cases that share inputs and a peer share its outcome: the slow ones run once
        self._peers: dict[tuple[object, Peer], Outcome] = {}

    def run(self, case: Case) -> None:
        """Add a row for each peer that ran and agreed; for ours alone where none ran."""
        try:
            inputs = input_sets(case.make, at_most=case.at_most)
            ours = first_call(case.ours, inputs[0])
            n_wrong = len(self.wrong)
            found = [(peer, *pair) for peer in case.peers if (pair := self._agreeing(case, peer, inputs[0], ours))]
            self._time([ours, *(theirs for _, theirs, _ in found if not theirs.times)], inputs, case.cold)
        except Exception as error:  # noqa: BLE001
            # the other cases are worth their time whatever broke here
            self._report(f"{case.name}: {reason(error)}")
            return
        floor = self._floor(case, inputs[0][0].dtype)
        for peer, theirs, note in found:
            self._add(case, ours, (peer, theirs, note), floor)
        if not found and len(self.wrong) == n_wrong:
            self._add(case, ours, None, floor)

    def _agreeing(self, case: Case, peer: Peer, inputs: Tensors, ours: Outcome) -> tuple[Outcome, str] | None:
        """A peer's outcome and the row's note; None where it failed or its result is another one."""
        try:
            key = case.make, peer
            if key not in self._peers:
                self._peers[key] = first_call(peer.run, inputs)
            theirs = self._peers[key]
        except Exception as error:  # noqa: BLE001
            # a package that is missing, memory that is not there, a kernel that does not compile
            self.skipped.append(f"{case.name}, {peer.name}: skipped, {reason(error)}")
            print(self.skipped[-1], flush=True)
            return None
        try:
            notes = [peer.check(inputs, ours.result, theirs.result), _memory(case, ours, theirs)]
        except Exception as error:  # noqa: BLE001
            # unequal results, or too little memory left to compare them: no row either way
            self._report(f"{case.name}, {peer.name}: {reason(error)}")
            return None
        return theirs, "; ".join(filter(None, notes))

    def _time(self, outcomes: Sequence[Outcome], inputs: Sequence[Tensors], cold: bool) -> None:
        for outcome in outcomes:
            if outcome.seconds >= ONCE and not IS_GPU:
                outcome.times = [1e3 * outcome.seconds]
        quick = [outcome for outcome in outcomes if not outcome.times]
        # the first call was made already; on a GPU others may still be slower than the rest
        rounds = Repeats(3 if IS_GPU else 0, self.repeats, self.seconds, cold)
        found = measure_in_turn([outcome.run for outcome in quick], inputs, rounds) if quick else []
        for outcome, times in zip(quick, found, strict=True):
            outcome.times = times

    def _add(self, case: Case, ours: Outcome, other: tuple[Peer, Outcome, str] | None, floor: float | None) -> None:
        own, theirs = quantiles(ours.times), quantiles(other[1].times) if other else None
        speed_up, over_floor = theirs.p50 / own.p50 if theirs else None, own.p50 / floor if floor else None
        notes = [other[2]] if other else []
        if IS_GPU and len(ours.times) < self.repeats:
            notes.append(f"{len(ours.times)} calls")
        is_aimed = case.target and (other is None or other[0] is case.peers[0])
        target = verdict(case.target, own.p50, speed_up, over_floor) if case.target and is_aimed else ""
        name, note = other[0].name if other else "none ran", "; ".join(filter(None, notes))
        self.rows.append(Row(case.name, name, own, theirs, speed_up, floor, over_floor, target, note))
        print(shown(self.rows[-1]), flush=True)

    def _floor(self, case: Case, dtype: torch.dtype) -> float | None:
        if dtype not in self.rates or self.copy is None:
            return None
        return 1e3 * max(case.flops / self.rates[dtype], case.n_bytes / self.copy)

    def _report(self, text: str) -> None:
        print(f"no row: {text}", flush=True)
        self.wrong.append(text)


def first_call(run: Callable[..., object], inputs: Tensors) -> Outcome:
    """Call `run` on `inputs`, with a look at the clock and at the memory."""
    before = _memory_peak(start=True)
    start = time.perf_counter()
    result = run(*inputs)
    seconds = time.perf_counter() - start
    return Outcome(run, result, seconds, _memory_peak() - before)


def verdict(target: Target, milliseconds: float, speed_up: float | None, over_floor: float | None) -> str:
    """Each part of a target, and whether it was reached."""
    parts = []
    if target.speed_up is not None and speed_up is not None:
        parts.append((f"{target.speed_up:.3g} x", speed_up >= target.speed_up))
    if target.milliseconds is not None:
        parts.append((f"{target.milliseconds:.3g} ms", milliseconds <= target.milliseconds))
    if target.over_floor is not None and over_floor is not None:
        parts.append((f"{target.over_floor:.3g} over floor", over_floor <= target.over_floor))
    return ", ".join(f"{words} {'met' if is_met else 'missed'}" for words, is_met in parts)


def shown(row: Row) -> str:
    """A row as one line of text."""
    parts = [f"{row.case}: {row.ours_ms.p50:.3g} ms"]
    if row.peer_ms and row.speed_up:
        parts.append(f"{row.peer} {row.peer_ms.p50:.3g} ms, {row.speed_up:.3g} x")
    if row.floor_ms and row.over_floor:
        parts.append(f"floor {row.floor_ms:.3g} ms, {row.over_floor:.3g} over it")
    return ", ".join([*parts, *filter(None, [row.target and f"target {row.target}", row.note])])


def reason(error: BaseException) -> str:
    """An error in one line: its first, and its last, where compilers say what is wrong."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {' ... '.join(dict.fromkeys([*lines[:1], *lines[-1:]]))}"


def _memory_peak(start: bool = False) -> int:
    """The most bytes of the GPU held since the last `start`."""
    if not IS_GPU:
        return 0
    torch.cuda.synchronize()
    if start:
        torch.cuda.reset_peak_memory_stats()
    return torch.cuda.max_memory_allocated()


def _memory(case: Case, ours: Outcome, theirs: Outcome) -> str:
    if not case.logits_bytes or not IS_GPU:
        return ""
    shares = [f"{100 * each.extra_bytes / case.logits_bytes:.2g}" for each in (ours, theirs)]
    return f"memory {' / '.join(shares)} % of the logits"
