"""Batches: rows of about one length together, equal rows computed once, padding that nobody reads."""

import torch

from contextpruner.models.batches import Batch, Row, batches, run_batches


def rows(*lengths: int) -> list[Row]:
    return [Row(tuple(range(5, 5 + length)), length // 2) for length in lengths]


def test_batches_are_of_one_length_and_padded_no_further() -> None:
    given = rows(3, 9, 4, 8, 3, 0, 9)
    widths = []
    for batch in batches(given, 2, pad=1):
        widths.append(batch.ids.shape[1])
        for place, index in enumerate(batch.rows):
            ids, second = given[index]
            rest = batch.ids.shape[1] - len(ids)
            assert batch.ids[place].tolist() == [*ids, *[1] * rest]
            assert batch.mask[place].tolist() == [*[1] * len(ids), *[0] * rest]
            assert batch.types[place].tolist() == [*[0] * second, *[1] * (len(ids) - second), *[0] * rest]
    assert widths == [9, 8, 3, 0]


def test_equal_rows_are_computed_once_and_come_back_in_their_places() -> None:
    seen: list[int] = []

    def forward(batch: Batch) -> torch.Tensor:
        seen.extend(batch.mask.sum(1).tolist())
        return batch.ids.double().sum(1) - (1 - batch.mask).sum(1) * 7

    given = rows(2, 5, 2, 3, 5, 2)
    found = run_batches(given, 2, 7, forward)
    assert [float(value) for value in found] == [sum(row.ids) for row in given]
    assert sorted(seen) == [2, 3, 5]
    assert run_batches([], 2, 7, forward) == []
