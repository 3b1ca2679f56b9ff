"""Which copy stays: by hand, exactly so many rows, and against components made pair by pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datapruner import Candidates, Source, score, select
from datapruner.corpus.uids import hash64
from datapruner.selection.candidates import ArrayRows
from datapruner.selectors.one_of_each import OneOfEach
from tests.datapruner.conftest import write_jsonl


def candidates(links: list[tuple[float, int]], scores: list[float], older: tuple[int, ...] = ()) -> Candidates:
    """Rows with the similarity and the row for which each goes; `older` ones go for a row of the older corpus."""
    n = len(links)
    against = np.full(n, -1)
    against[list(older)] = 0
    column = {
        "score": np.array([similarity for similarity, _ in links], np.float32),
        "nearest_row": np.array([row for _, row in links]),
        "against_row": against,
    }
    keys = hash64([f"u{i}" for i in range(n)])
    fields = {"near_duplicate": column, "rows": {"characters": np.arange(n) % 3}}
    return Candidates(np.array(scores, np.float32), ArrayRows(keys, fields), by="quality")


# 1, 2 and 3 go for 0 in a chain, 5 for 4 and 6 for the older corpus
LINKS = [(0.0, -1), (0.95, 0), (0.85, 1), (0.9, 2), (0.0, -1), (0.82, 4), (0.99, -1)]
SCORES = [3.0, 1.0, 9.0, 4.0, 1.0, 2.0, 5.0]


@pytest.mark.parametrize(
    ("stays", "similarity", "kept"),
    [
        ("first", 0.8, [0, 4]),
        ("longest", 0.8, [2, 5]),
        ("shortest", 0.8, [4]),
        ("highest", 0.8, [2, 5]),
        ("lowest", 0.8, [1, 4]),
        ("highest", 0.87, [0, 2, 4, 5]),
        ("first", 0.99, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_by_hand(stays: str, similarity: float, kept: list[int]) -> None:
    rule = OneOfEach(stays=stays, similarity=similarity)  # type: ignore[arg-type]
    outcome = rule.select(candidates(LINKS, SCORES, (6,)))
    found = outcome.kept.tolist()
    # of equally long ones the lots decide
    assert found == kept if stays != "shortest" else found[-1] == 4 and found[0] in (0, 3)
    if similarity == 0.8:
        reasons = [outcome.reasons[code] if code >= 0 else "" for code in outcome.codes.tolist()]
        assert reasons[6] == "copy of the older corpus by near_duplicate above 0.8"
        assert all("stays" in reason for row, reason in enumerate(reasons[:6]) if row not in found)


def test_exactly_so_many_rows_by_similarity() -> None:
    given = candidates(LINKS, SCORES, (6,))
    for rows in range(2, 8):
        assert len(OneOfEach(rows=rows).select(given).kept) == rows
    # the most similar is joined first
    assert OneOfEach(rows=6).select(given).kept.tolist() == [0, 1, 2, 3, 4, 5]
    assert OneOfEach(rows=5, stays="highest").select(given).kept.tolist() == [0, 2, 3, 4, 5]
    for rows in (1, 8):
        with pytest.raises(ValueError, match="one_of_each.rows wants between 2 and 7"):
            OneOfEach(rows=rows).select(given)


def test_rows_that_compete_no_more_still_join_others() -> None:
    # 1 was dropped earlier: 0 and 2 are copies through it
    given = candidates(LINKS, SCORES, (6,)).take(np.array([0, 2, 3, 5]))
    assert given.at is not None
    assert given.at[OneOfEach(stays="highest").select(given).kept].tolist() == [2, 5]
    assert given.at[OneOfEach().select(given).kept].tolist() == [0, 5]


def test_against_components_made_pair_by_pair() -> None:
    draw = np.random.default_rng(0)
    links = [(0.0, -1)] + [(float(draw.random()), int(draw.integers(0, i))) for i in range(1, 200)]
    scores = draw.random(200).astype(np.float32)
    given = candidates(links, scores.tolist())
    groups = [{row} for row in range(200)]
    for row, (similarity, other) in enumerate(links):
        if similarity > 0.6:
            joined = groups[row] | groups[other]
            for member in joined:
                groups[member] = joined
    best = sorted({max(group, key=lambda row: scores[row]) for group in groups})
    assert OneOfEach(similarity=0.6, stays="highest").select(given).kept.tolist() == best


def test_on_a_table_a_clean_page_stays_and_not_the_longest(tmp_path: Path) -> None:
    page = " ".join(f"w{i}" for i in range(60))
    rows = [
        {"text": f"{page} buy now", "quality": 0.1},
        {"text": page, "quality": 0.9},
        {"text": "a text of its own with other words", "quality": 0.5},
    ]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows))
    table = score(source, ["near_duplicate", "quality=field:name=quality"], tmp_path / "t")
    assert select(table, "one_of_each:stays=highest", by="quality").kept.tolist() == [1, 2]
    assert select(table, "one_of_each:stays=longest").kept.tolist() == [0, 2]
    assert select(table, "one_of_each:stays=shortest").kept.tolist() == [1, 2]
    assert select(table, "one_of_each:rows=3").kept.tolist() == [0, 1, 2]


def test_refuses_fields_that_cannot_work() -> None:
    for rule in (OneOfEach(stays="best"), OneOfEach(rows=0)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="one_of_each"):
            rule.check()
