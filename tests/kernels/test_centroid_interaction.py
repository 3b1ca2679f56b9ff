"""Centroid interaction and pruning over ragged codes: by hand, against float64, and whatever stands beside."""

import sys

import pytest
import torch

from prunekernels import _ragged
from prunekernels.centroid_interaction import centroid_interaction
from prunekernels.max_sim import max_sim

MODULE = sys.modules["prunekernels.centroid_interaction"]
INF = torch.inf


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _exact(table: torch.Tensor, codes: torch.Tensor, lengths: list[int], is_kept: torch.Tensor) -> torch.Tensor:
    parts = [part[is_kept[part.long()]] for part in codes.split(lengths)]
    return torch.tensor([float(table.double()[part.long()].amax(0).sum()) if len(part) else -INF for part in parts])


def test_by_hand(device: torch.device) -> None:
    table = torch.tensor([[0.9, 0.1], [0.2, 0.6], [0.3, 0.3]], device=device)
    codes, lengths = torch.tensor([0, 1, 2, 2, 1], device=device), [2, 2, 0, 1]
    assert centroid_interaction(table, codes, lengths).tolist() == pytest.approx([1.5, 0.6, -INF, 0.8])
    # the third centroid reaches .5 with neither token: a document of nothing else has nothing left
    is_kept = table.amax(1) >= 0.5
    assert centroid_interaction(table, codes, lengths, is_kept=is_kept).tolist() == pytest.approx(
        [1.5, -INF, -INF, 0.8]
    )
    # one that reaches it with one token counts for the other as well
    one = table.amax(1) >= 0.7
    assert centroid_interaction(table, codes, lengths, is_kept=one).tolist() == pytest.approx([1.0, -INF, -INF, -INF])
    weights = torch.tensor([2.0, 0.5], device=device)
    assert centroid_interaction(table, codes, lengths, weights).tolist() == pytest.approx([2.1, 0.75, -INF, 0.7])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("entries", [None, 7 * 5])
def test_agrees_with_float64(
    dtype: torch.dtype, entries: int | None, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    if entries:
        # a document at a time, in parts
        monkeypatch.setattr(_ragged, "MAX_ENTRIES", entries)
        monkeypatch.setattr(MODULE, "ROWS", 50)
    lengths = [1, 0, 64, 65, 3, 128, 0, 2, 300, 1]
    table, codes = _draw(40, 7), torch.randint(40, (sum(lengths),), generator=torch.Generator().manual_seed(1))
    for is_kept in (torch.ones(40, dtype=torch.bool), table.amax(1) >= 1.2, torch.zeros(40, dtype=torch.bool)):
        scores = centroid_interaction(
            table.to(device), codes.to(device, dtype), lengths, is_kept=is_kept.to(device)
        ).cpu()
        torch.testing.assert_close(scores, _exact(table, codes, lengths, is_kept), rtol=1e-6, atol=1e-6)
    assert torch.equal(
        centroid_interaction(table.to(device), codes.to(device, dtype), lengths),
        centroid_interaction(table.to(device), codes.to(device, dtype), lengths, is_kept=table.to(device)[:, 0] > -99),
    )


def test_is_max_sim_where_every_token_is_a_centroid(device: torch.device) -> None:
    documents, questions = _draw(90, 12).to(device), _draw(5, 12, seed=1).to(device)
    lengths = [30, 1, 0, 59]
    scores = centroid_interaction(documents @ questions.T, torch.arange(90, device=device), lengths)
    torch.testing.assert_close(scores, max_sim(questions, documents, lengths), rtol=1e-5, atol=1e-5)


def test_order_copies_and_repeated_codes_change_no_bit(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(0, 20, (50,), generator=generator)
    table, codes = _draw(64, 9).to(device), torch.randint(64, (int(lengths.sum()),), generator=generator).to(device)
    is_kept = table.amax(1) >= 1.5
    parts, order = codes.split(lengths.tolist()), torch.randperm(50, generator=generator)
    scores = centroid_interaction(table, codes, lengths, is_kept=is_kept)
    shuffled = centroid_interaction(table, torch.cat([parts[i] for i in order]), lengths[order], is_kept=is_kept)
    assert torch.equal(shuffled, scores[order])
    twice = centroid_interaction(table, torch.cat([part.repeat(2) for part in parts]), 2 * lengths, is_kept=is_kept)
    assert torch.equal(twice, scores)


def test_nothing_to_score(device: torch.device) -> None:
    table = _draw(4, 3).to(device)
    none = torch.zeros(0, dtype=torch.uint8, device=device)
    assert centroid_interaction(table, none, []).shape == (0,)
    assert centroid_interaction(table[:0], none, [0, 0]).tolist() == [-INF, -INF]
    assert centroid_interaction(table[:, :0], torch.tensor([1], device=device), [1, 0]).tolist() == [0, -INF]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"similarities": torch.zeros(3)}, r"similarities \[K, Q\]"),
        ({"similarities": torch.zeros(3, 2).long()}, "floating"),
        ({"codes": torch.zeros(2, 2).long()}, r"codes \[T\]"),
        ({"codes": torch.zeros(4)}, "whole codes"),
        ({"codes": torch.tensor([0, 1, 3, 0])}, r"\[0, 3\), got 0 to 3"),
        ({"codes": torch.tensor([0, -1, 2, 0])}, "got -1 to 2"),
        ({"lengths": [3, 2]}, "sum to 4 rows"),
        ({"is_kept": torch.ones(2, dtype=torch.bool)}, r"is_kept \[3\]"),
        ({"is_kept": torch.ones(3)}, "bool"),
        ({"weights": torch.ones(3)}, r"weights \[2\]"),
        ({"similarities": torch.tensor([[0.0, 0], [0, torch.nan], [0, 0]])}, "row 1 of similarities"),
    ],
)
def test_refuses(change, message: str) -> None:
    given = {"similarities": torch.ones(3, 2), "codes": torch.tensor([0, 1, 2, 0]), "lengths": [1, 3]}
    with pytest.raises(ValueError, match=message):
        centroid_interaction(**{**given, **change})
