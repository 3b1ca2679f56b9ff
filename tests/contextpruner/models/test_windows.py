"""Windows over long documents: every unit is covered, what is carried along fits, merging is order-free."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import Unit, split
from contextpruner.models.windows import Window, merge_windows, overlapping_windows
from contextpruner.units.unit import ancestors


def plain(sizes: list[int]) -> tuple[list[Unit], list[int]]:
    """Units of so many tokens, one character a token."""
    ends = np.cumsum(sizes).tolist()
    return [Unit(end - size, end, "sentence") for size, end in zip(sizes, ends, strict=True)], ends


def test_windows_by_hand() -> None:
    units, ends = plain([30, 30, 30, 30, 30])
    assert overlapping_windows(units, ends, 100) == [Window(0, 90), Window(90, 150)]
    # back by one unit, and never by half of one
    assert overlapping_windows(units, ends, 120, 30) == [Window(0, 120), Window(90, 150)]
    assert overlapping_windows(units, ends, 120, 29) == [Window(0, 120), Window(120, 150)]
    assert overlapping_windows(units, ends, 150, 30) == [Window(0, 150)]


def test_a_unit_that_fits_no_window_is_cut_through_with_overlap() -> None:
    units, ends = plain([10, 200, 10])
    assert overlapping_windows(units, ends, 80, 20) == [
        Window(0, 80),
        Window(60, 140),
        Window(120, 200),
        Window(180, 220),
    ]


def test_a_unit_that_would_fit_is_not_cut_behind_a_short_one() -> None:
    units, ends = plain([30, 75, 10])
    assert overlapping_windows(units, ends, 100, 25) == [Window(0, 30), Window(30, 115)]


def test_headings_table_headers_and_signatures_come_along() -> None:
    text = (
        "# Top\n\n## Rows\n| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 30 + "\n```\ndef f():\n" + "    x\n" * 30 + "```\n"
    )
    units = split(text)
    windows = overlapping_windows(units, [unit.end for unit in units], 120)
    carried = ["".join(text[start:end] for start, end in window.context) for window in windows]
    # a quarter of the room is 30 characters: the nearest is read whole, what is further off by its beginning
    assert carried[0] == ""
    assert carried[1] == "# " + "## Rows\n" + "| a | b |\n|---|---|\n"
    assert carried[-1] == "# Top\n\n" + "## Rows\n" + "```\n" + "def f():\n"
    assert all(window.end - window.start + len(head) <= 120 for window, head in zip(windows, carried, strict=True))
    assert not any(
        window.context for window in overlapping_windows(units, [unit.end for unit in units], 120, with_context=False)
    )


def test_what_a_unit_hangs_on_nearest_first() -> None:
    units = [
        Unit(0, 1, "heading"),
        Unit(1, 2, "heading", (("heading", 0),)),
        Unit(2, 3, "fence", (("heading", 1),)),
        Unit(3, 4, "code", (("header", 2), ("heading", 1))),
        Unit(4, 5, "code", (("header", 2), ("signature", 3), ("heading", 1))),
        Unit(5, 6, "code", (("header", 2), ("signature", 4), ("heading", 1))),
    ]
    assert list(ancestors(units, 5)) == [2, 4, 3, 1, 0]
    assert list(ancestors(units, 0)) == []


SIZES = st.lists(st.integers(min_value=0, max_value=60), max_size=60)


@settings(max_examples=300, deadline=None)
@given(sizes=SIZES, room=st.integers(4, 80), part=st.integers(0, 20), data=st.data())
def test_every_unit_that_fits_is_whole_in_some_window(
    sizes: list[int], room: int, part: int, data: st.DataObject
) -> None:
    units, ends = plain(sizes)
    links = [data.draw(st.none() | st.integers(0, index - 1)) if index else None for index in range(len(units))]
    units = [unit.linked("heading", link) for unit, link in zip(units, links, strict=True)]
    overlap = min(part, room // 4)
    windows = overlapping_windows(units, ends, room, overlap)
    n_tokens = sum(sizes)
    assert windows[0].start == 0
    assert windows[-1].end == n_tokens
    sure = room - room // 4
    for before, after in zip(windows, windows[1:], strict=False):
        # no gap, no more overlap than asked for, and always on
        assert before.start < after.start <= before.end < after.end
        assert before.end - after.start <= overlap
    for window in windows:
        carried = sum(end - start for start, end in window.context)
        assert window.end - window.start + carried <= room
        assert carried <= room // 4
        assert all(end <= window.start for _, end in window.context)
    for size, end in zip(sizes, ends, strict=True):
        whole = any(window.start <= end - size and end <= window.end for window in windows)
        assert whole or size > sure
    assert len(windows) <= 2 * n_tokens / (sure - overlap) + 1


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 9))
def test_merging_windows_that_agree_changes_nothing(sizes: list[int], seed: int) -> None:
    units, ends = plain(sizes)
    windows = overlapping_windows(units, ends, 40, 10)
    draw = np.random.default_rng(seed)
    said = draw.random(sum(sizes), dtype=np.float32)
    for how in ("mean", "centre"):
        merged = merge_windows(windows, [said[window.start : window.end] for window in windows], how)
        np.testing.assert_allclose(merged, said, rtol=1e-6)
        alone = np.bincount(np.concatenate([[], *(np.arange(w.start, w.end) for w in windows)]).astype(int)) == 1
        assert (merged[: len(alone)][alone] == said[: len(alone)][alone]).all()


def test_merging_by_hand() -> None:
    windows = [Window(0, 3), Window(1, 5)]
    values = [np.array([1, 1, 1], np.float32), np.array([0, 0, 0, 0.5], np.float32)]
    np.testing.assert_array_equal(merge_windows(windows, values, "mean"), np.float32([1, 0.5, 0.5, 0, 0.5]))
    # weights 1 2 1 and 1 2 2 1
    np.testing.assert_allclose(merge_windows(windows, values, "centre"), [1, 2 / 3, 1 / 3, 0, 0.5], rtol=1e-7)


def test_one_window_is_no_window() -> None:
    units, ends = plain([7, 0, 20])
    said = np.random.default_rng(0).random(27, dtype=np.float32)
    assert overlapping_windows(units, ends, 27, 6) == [Window(0, 27)]
    np.testing.assert_array_equal(merge_windows(overlapping_windows(units, ends, 27, 6), [said]), said)


def test_nothing_has_one_empty_window() -> None:
    assert overlapping_windows([], [], 10) == overlapping_windows([Unit(0, 1, "rule")], [0], 10) == [Window(0, 0)]
    assert merge_windows([Window(0, 0)], [np.zeros(0, np.float32)]).shape == (0,)


def test_a_long_document_takes_little_memory_and_linear_time() -> None:
    def cost(n_tokens: int) -> tuple[float, int]:
        units, ends = plain([25] * (n_tokens // 25))
        units = [unit.linked("heading", max(0, index - 1) if index else None) for index, unit in enumerate(units)]

        def run() -> float:
            started = time.process_time()
            windows = overlapping_windows(units, ends, 512, 64)
            merge_windows(windows, [np.ones(window.end - window.start, np.float32) for window in windows])
            return time.process_time() - started

        # the fastest of some: a busy machine slows down any of them
        seconds = min(run() for _ in range(5))
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return seconds, peak

    small, large = cost(100_000), cost(400_000)
    assert small[1] < 10e6
    assert large[1] < 6 * small[1]
    assert large[0] < 9 * small[0]


@pytest.mark.parametrize(("room", "overlap"), [(3, 0), (40, 11), (40, -1)])
def test_a_room_or_an_overlap_that_cannot_be_is_refused(room: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"got {room} and {overlap}"):
        overlapping_windows([], [], room, overlap)


def test_ends_and_values_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="ascending end for each of 1 units, got 2"):
        overlapping_windows([Unit(0, 1, "rule")], [1, 2], 10)
    with pytest.raises(ValueError, match="ascending end"):
        overlapping_windows([Unit(0, 1, "rule"), Unit(1, 2, "rule")], [2, 1], 10)
    with pytest.raises(ValueError, match=r"each token of 1 windows, got \[2\]"):
        merge_windows([Window(0, 3)], [np.zeros(2, np.float32)])
    with pytest.raises(ValueError, match="mean or centre, got 'max'"):
        merge_windows([Window(0, 0)], [np.zeros(0, np.float32)], "max")  # type: ignore[arg-type]
