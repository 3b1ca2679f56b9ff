"""Terms: words of any script, in one form however they were written."""

import pytest

from contextpruner.units.terms import terms


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The Cat's 3 hats_x!", ["the", "cat", "s", "3", "hats_x", "hats", "x"]),
        ("Straße ÉCOLE ﬁn", ["strasse", "ecole", "fin"]),
        ("e\u0301cole Ελλάδα й", ["ecole", "ελλαδα", "й"]),
        ("गुंबद हिन्दी", ["गुंबद", "हिन्दी"]),
        ("穹顶是x谁", ["穹顶", "顶是", "x", "谁"]),
        ("ドームdome", ["ドー", "ーム", "dome"]),
        ("대성당", ["대성", "성당"]),
        ("القبة", ["القبة"]),
        ("option 3.11, 1,500.50 of 12,345; v2.0.1", ["option", "3.11", "1500.50", "of", "12345", "v", "2.0.1"]),
        ("C++ and C#, not c#er. F#", ["c++", "and", "c#", "not", "c", "er", "f#"]),
        (
            "parse_line parseLine __init__ a, b",
            ["parse_line", "parse", "line", "parseline", "parse", "line"] + ["__init__", "init", "a", "b"],
        ),
        ("vac-\n cine so\u00adft", ["vaccine", "vac", "cine", "soft"]),
        ("القُبّة", ["القبة"]),
        ("3. 4", ["3", "4"]),
        ("...", []),
        ("", []),
    ],
)
def test_a_word_is_one_term_however_it_is_written(text: str, wanted: list[str]) -> None:
    assert terms(text) == wanted
