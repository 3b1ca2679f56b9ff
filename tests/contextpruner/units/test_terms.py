"""Terms: words of any script, in one form however they were written."""

import pytest

from contextpruner.units.terms import terms


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The Cat's 3 hats_x!", ["the", "cat", "s", "3", "hats_x"]),
        ("Straße ÉCOLE ﬁn", ["strasse", "école", "fin"]),
        ("e\u0301cole", ["école"]),
        ("गुंबद हिन्दी", ["गुंबद", "हिन्दी"]),
        ("穹顶是x谁", ["穹顶", "顶是", "x", "谁"]),
        ("ドームdome", ["ドー", "ーム", "dome"]),
        ("대성당", ["대성", "성당"]),
        ("القبة", ["القبة"]),
        ("...", []),
        ("", []),
    ],
)
def test_a_word_is_one_term_however_it_is_written(text: str, wanted: list[str]) -> None:
    assert terms(text) == wanted
