"""The benchmark of a whole prefill: its prompt, and what it tells of each method."""

from __future__ import annotations

import pytest

from benchmarks.decoder_prefill import ALL_TOKENS, N_WORDS, rows_of, sides_of


def test_pictures_have_as_many_patches_as_asked() -> None:
    assert [sides_of(n) for n in (64, 576, 2880, 10_000)] == [(1, 8), (1, 24), (5, 24), (1, 100)]
    with pytest.raises(ValueError, match="multiple of 576"):
        sides_of(600)


def test_a_row_tells_what_was_left_and_what_it_cost() -> None:
    methods = (ALL_TOKENS, "stride:keep_ratio=0.25", "fastv:keep_ratio=0.25,layer=2")
    whole, before, inside = rows_of(64, methods, 2, is_small=True)
    assert (whole.kept, before.kept, inside.kept) == (64, 16, 16)
    assert (whole.speed_up, whole.promised, whole.selection_ms) == (1, 1, 0)
    # of four layers the last two are pruned inside
    n = 64 + N_WORDS
    assert before.cache_mb == pytest.approx(whole.cache_mb * (n - 48) / n)
    assert inside.cache_mb == pytest.approx(whole.cache_mb * (n - 24) / n)
    assert before.promised > inside.promised > 1
    for row in (before, inside):
        assert row.reached == pytest.approx(row.speed_up / row.promised)
        assert row.selection_share == pytest.approx(row.selection_ms / row.prefill_ms.p50)
        assert row.selection_ms > 0
    assert min(row.decode_ms for row in (whole, before, inside)) > 0
