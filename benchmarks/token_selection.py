"""How long token methods take to choose, beside the same as published in plain torch.

    python -m benchmarks.token_selection                    all of `tokenpruner.methods`, about six minutes
    ... --only divprune --sizes 576                         a first look, neither tested first nor recorded

A method chooses a ninth of 576, 2,880 or 10,000 tokens (64, 320 and 1,112): scores, picks, what goes into what, and the
checks of all that; the embeddings that are left are not made. A block of a vision transformer loses a quarter. The
published form (token_loops.py and its kin) does the same by its own steps. It is stopped when its time is up, and the
speed-up is then the least that it can be. Rules, such as random or stride, have no published form.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence

import torch

from benchmarks import token_loops, token_loops_inside, token_loops_video
from benchmarks.harness import Repeats, Timing, measure_in_turn, quantiles, record, require_green
from benchmarks.token_inputs import Scene, chosen_by
from prunekernels import registry
from tokenpruner import BlockMethod, LayerMethod, Method, TokenMethod

PACKAGE = "tokenpruner.methods"
LOOPS = token_loops.LOOPS | token_loops_video.LOOPS | token_loops_inside.LOOPS
TESTS = ("tests/test_token_selection.py",)
# of an image, and of a video: frames and the grid of one
IMAGES = {576: (24, 24), 2880: (48, 60), 10_000: (100, 100)}
VIDEOS = {576: (4, (12, 12)), 2880: (20, (12, 12)), 10_000: (100, (10, 10))}
KINDS = ((Method, "before the decoder"), (LayerMethod, "inside the decoder"), (BlockMethod, "inside a tower"))
KEPT = 1 / 9
# seconds: a call that takes longer is the only one; a published loop is stopped; repeats of both together end
ONCE, STOP, REPEAT = 1.0, 6.0, 0.8


@dataclasses.dataclass(frozen=True)
class Row:
    """One method at one size; without a loop that ended there are no times of it, without one at all no speed-up."""

    method: str
    where: str
    tokens: int
    kept: int
    ours_ms: Timing
    published_ms: Timing | None
    speed_up: float | None
    same_picks: float | None
    note: str


class TimeIsUpError(Exception):
    """A loop took longer than it has."""


def scene_of(kind: type[TokenMethod], n_tokens: int) -> Scene:
    """Frames of a video for methods that share a count out over them, else an image."""
    frames, grid = VIDEOS[n_tokens] if is_for_videos(kind) else (1, IMAGES[n_tokens])
    return Scene(grid, frames)


def is_for_videos(kind: type[TokenMethod]) -> bool:
    """True where a method looks at the frames of a video together."""
    own = (getattr(kind, name, None) is not getattr(Method, name, None) for name in ("share", "choose"))
    return issubclass(kind, Method) and any(own)


def row(name: str, kind: type[TokenMethod], scene: Scene) -> Row | None:
    """Time the method `name` and its published form in turn; None for a kind that is not measured here."""
    where = next((words for base, words in KINDS if issubclass(kind, base)), None)
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    ours = chosen_by(kind(**{"keep_ratio": KEPT} if "keep_ratio" in fields else {}), scene)
    if where is None or ours is None:
        return None
    picks, seconds = _first(ours)
    facts = (name, where, scene.n, len(picks))
    if name not in LOOPS:
        return Row(*facts, quantiles(_times([(ours, seconds)])[0]), None, None, None, "")
    n, loop = len(picks), LOOPS[name]
    try:
        theirs, loop_seconds = _first(lambda: loop(scene, n, _until(STOP)))
    except TimeIsUpError:
        own = quantiles(_times([(ours, seconds)])[0])
        return Row(*facts, own, None, 1e3 * STOP / own.p50, None, f"stopped after {STOP:.0f} s")
    own_times, their_times = _times([(ours, seconds), (lambda: loop(scene, n, lambda: None), loop_seconds)])
    own, other = quantiles(own_times), quantiles(their_times)
    same = float(torch.isin(picks, theirs).float().mean()) if len(theirs) else None
    return Row(*facts, own, other, other.p50 / own.p50, same, "")


def _first(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    start = time.perf_counter()
    found = run()
    return found, time.perf_counter() - start


def _times(runs: Sequence[tuple[Callable[[], object], float]]) -> list[list[float]]:
    """Milliseconds of each of `runs`, which has taken so many seconds once; the slow ones are not run again."""
    quick = [run for run, seconds in runs if seconds < ONCE]
    found = iter(measure_in_turn(quick, [()], Repeats(1, 15, REPEAT)) if quick else ())
    return [next(found) if seconds < ONCE else [1e3 * seconds] for _, seconds in runs]


def _until(seconds: float) -> Callable[[], None]:
    end = time.perf_counter() + seconds

    def tick() -> None:
        if time.perf_counter() > end:
            raise TimeIsUpError

    return tick


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="methods, by commas; neither tested first nor recorded")
    parser.add_argument("--sizes", default=",".join(map(str, IMAGES)), help="numbers of tokens, by commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args(words)
    names, sizes = options.only.split(",") if options.only else registry.names(PACKAGE), options.sizes.split(",")
    is_recorded = not options.no_record and not options.only and len(sizes) == len(IMAGES)
    if is_recorded:
        require_green(TESTS)
    torch.set_num_threads(options.threads)
    rows = []
    for name in names:
        kind = registry.load(PACKAGE, name, TokenMethod)
        for size in sizes:
            found = row(name, kind, scene_of(kind, int(size)))
            print(found or f"{name}: what it chooses from is not drawn here", flush=True)
            rows += [found] if found else []
    if is_recorded:
        print(record("token_selection", rows))


if __name__ == "__main__":
    main()
