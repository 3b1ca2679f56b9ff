"""exact_duplicate and url_duplicate: by hand, against counting, and an older corpus."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch, Scorer
from datapruner.scorers.exact_duplicate import ExactDuplicate
from datapruner.scorers.url_duplicate import UrlDuplicate, address
from tests.datapruner.conftest import write_jsonl


def batch_of(texts: list[str]) -> Batch:
    uids = [f"u{i}" for i in range(len(texts))]
    return Batch(np.arange(len(texts)), uids, texts, fields={"url": texts})


def scores(texts: list[str], scorer: Scorer) -> list[float]:
    batch = batch_of(texts)
    scorer.check()
    return scorer.checked(batch, scorer.fit([batch])).tolist()


def test_by_hand() -> None:
    texts = ["A b, c.", "a  B\nc", "a b c d", "a b c", "a b c"]
    assert scores(texts, ExactDuplicate(keep="first")) == [0, 1, 0, 2, 3]
    assert scores(texts, ExactDuplicate(of="bytes", keep="first")) == [0, 0, 0, 0, 1]
    # by the hash of the uid each of them once
    assert sorted(scores(texts, ExactDuplicate())) == [0, 0, 1, 2, 3]
    batch = batch_of(texts)
    scorer = ExactDuplicate(keep="first")
    details = scorer.details(batch, scorer.fit([batch]))
    assert details["nearest_row"].tolist() == [-1, 0, -1, 0, 0]
    assert details["cluster"].tolist() == [0, 0, 2, 0, 0]


def test_against_counting() -> None:
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abc", k=3)) for _ in range(200)]
    assert scores(texts, ExactDuplicate(keep="first")) == [texts[:i].count(text) for i, text in enumerate(texts)]


def test_an_older_corpus_comes_first(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "old.jsonl", [{"body": "x y"}, {"body": "one two"}, {"body": "x y"}])
    scorer = ExactDuplicate(against=str(path), against_text="body", keep="first")
    assert scores(["one two", "new", "X Y", "new"], scorer) == [1, 0, 2, 1]
    batch = batch_of(["one two", "new"])
    assert scorer.details(batch, scorer.fit([batch]))["against_row"].tolist() == [1, -1]
    assert scorer.identity().keys() == {"against"}


@pytest.mark.parametrize(
    ("url", "other", "same"),
    [
        ("https://www.Example.org/a/", "http://example.org/a", True),
        ("example.org/a?b=1&a=2", "https://example.org:443/a?a=2&b=1#part", True),
        ("https://example.org/?utm_source=x&gclid=1", "example.org", True),
        ("https://example.org/a?id=1", "https://example.org/a?id=2", False),
        ("https://example.org/A", "https://example.org/a", False),
        ("https://example.org:8080/", "https://example.org/", False),
        ("https://[broken", " https://[broken ", True),
    ],
)
def test_addresses(url: str, other: str, same: bool) -> None:
    assert (address(url) == address(other)) == same


def test_rows_without_an_address_are_no_copies() -> None:
    urls = ["", "a.org/x", " ", "http://www.a.org/x/"]
    assert scores(urls, UrlDuplicate(keep="first")) == [0, 0, 0, 1]


def test_refuses_fields_that_cannot_work() -> None:
    for wrong in (ExactDuplicate(of="lines"), ExactDuplicate(keep="all"), UrlDuplicate(url="")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="_duplicate wants"):
            wrong.check()
