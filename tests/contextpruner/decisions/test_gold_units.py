"""The units that a calibration takes for gold: all that share a letter, no markup, headings that closure keeps."""

import pytest

from contextpruner import ContextPruner, Document, Example, Policy, SplitDocument, split, split_html
from contextpruner.decisions.calibration import gold_units


def test_gold_is_any_unit_that_shares_a_letter() -> None:
    text = "One. Two.  Three."
    document = SplitDocument(Document(text), tuple(split(text)))
    assert document.texts == ["One. ", "Two.  ", "Three."]
    assert gold_units(document, [(5, 8)]).tolist() == [False, True, False]
    assert gold_units(document, [(4, 6), (16, 17)]).tolist() == [False, True, True]
    # only the white space between two
    assert gold_units(document, [(9, 11)]).tolist() == [False, False, False]
    assert gold_units(document, []).tolist() == [False] * 3
    for span in ((-1, 2), (3, 3), (0, 18)):
        with pytest.raises(ValueError, match="want gold characters within"):
            gold_units(document, [span])


def test_markup_is_never_gold() -> None:
    text = "<p>Tall dome.</p><hr><p>Bread.</p>"
    document = SplitDocument(Document(text), tuple(split_html(text)))
    gold = gold_units(document, [(0, len(text))])
    assert [unit.kind for unit, is_gold in zip(document.units, gold, strict=True) if is_gold] == ["sentence"] * 2
    # with all that can be kept, nothing is lost
    pruner = ContextPruner("bm25", splitter=split_html)
    made = pruner.calibrate(Example("dome bread", [text], [[(0, len(text))]]) for _ in range(20))
    kept = ContextPruner("bm25", splitter=split_html, calibration=made).prune("dome bread", [text], target_recall=0.9)
    assert "Tall dome." in kept.documents[0].text
    assert "Bread." in kept.documents[0].text


def test_a_heading_that_is_gold_counts_as_kept_where_closure_keeps_it() -> None:
    def with_heading(number: int) -> Example:
        text = f"# Dome {number}\n\nThe dome number {number} is tall.\n\n# Bread\n\nBread is baked.\n"
        return Example(f"How tall is dome number {number}?", [text], [[(0, 20)]])

    pruner = ContextPruner("bm25")
    made = pruner.calibrate(with_heading(number) for number in range(20))
    asked = with_heading(30)
    kept = ContextPruner("bm25", calibration=made).prune(asked.question, asked.documents, target_recall=0.9)
    assert kept.documents[0].text == "# Dome 30\n\nThe dome number 30 is tall.\n\n"
    bare = pruner.calibrate((with_heading(number) for number in range(20)), closure=())
    with pytest.raises(ValueError, match="a recall of 0.9 would keep 100.0 %"):
        bare.threshold(0.9)
    without = Policy(target_recall=0.9, closure=("header",))
    with pytest.raises(
        ValueError, match="want a closure of all that the calibration was made with, got one without sp"
    ):
        ContextPruner("bm25", calibration=made).prune(asked.question, asked.documents, without)
