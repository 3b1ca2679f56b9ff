"""Texts in a report: hostile ones stay texts, and where two differ is shown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from datapruner import Source, score, select
from datapruner.output.report.example_rows import READ, ExampleTexts, choose_examples
from datapruner.output.report.html_words import WINDOW, beginning, compared
from datapruner.output.report.page import render
from datapruner.output.report.statistics import statistics_of
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.output.pages import check_page

EVIL = [
    "<script>alert(1)</script>",
    "</style></main><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "&lt;b&gt; &amp;amp; <!-- ",
    "nul \x00 bell \x07 escape \x1b[31m del \x7f c1 \x9b",
    "\u202eright to left override\u2066",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "x" * 30_000,
    "]]> <![CDATA[ \ufffe \U0010ffff",
    "",
]


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    rows = [{"id": f"{evil[:2000]}{i}", "text": evil * 2, "g": evil or "none"} for i, evil in enumerate(EVIL)]
    rows += [{"id": f"twin-{i}", "text": evil * 2, "g": "g"} for i, evil in enumerate(EVIL)]
    source = Source(write_jsonl(tmp_path / "<b>.jsonl", rows), uid="id", group="g")
    table = score(source, ["length", "near_duplicate"], tmp_path / "t")
    for selection in (select(table, "top", "length", 0.5, "g"), select(table, "middle", "near_duplicate", 0.5)):
        text = render(selection, source, table)
        check_page(text)
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        texts = ExampleTexts(
            source, selection, choose_examples(selection, statistics_of(selection, table), table).rows()
        )
        texts.read()
        assert texts.found is not None
        assert max(map(len, texts.found.values())) == READ
        # a text of 60,000 characters does not make a large page
        assert len(text) < 200_000


@pytest.mark.parametrize("seed", range(5))
def test_windows_of_any_texts_are_escaped(seed: int) -> None:
    draw = np.random.default_rng(seed)
    signs = [*"<>&\"' \n\t\x00\x1b\u202eab", "\u05d0", "\U0001f600", "\r\n"]
    for _ in range(200):
        one, two = ("".join(draw.choice(signs, draw.integers(0, 900))) for _ in range(2))
        two = one[: draw.integers(0, len(one) + 1)] + two
        for page in (*compared(one, two), beginning(one)):
            plain = page.replace("<mark>", "").replace("</mark>", "")
            assert not re.search(r"[<>\"'\x00\x1b\u202e]", plain)
            assert page.count("<mark>") == page.count("</mark>")
            assert len(plain) <= 6 * WINDOW + 10


def test_differences_beyond_the_beginning_are_shown() -> None:
    same = "word " * 1000
    left, right = compared(f"{same}here ends one", f"{same}there ends two")
    assert "<mark>here</mark>" in left
    assert "<mark>there</mark>" in right
    assert left.startswith("… ")
    assert compared("a b", "a b") == ("a b", "a b")
