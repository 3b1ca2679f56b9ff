"""Late interaction lends a unit the tokens of what introduces it."""

import numpy as np
import pytest

from contextpruner import Document, SplitDocument, split
from contextpruner.labelers.late_interaction import _means


def cut(text: str) -> SplitDocument:
    return SplitDocument(Document(text), tuple(split(text)))


def test_a_unit_has_three_quarters_of_what_its_heading_and_its_lead_in_have() -> None:
    document = cut("# A\n\nB one.\n\nC:\n\n- d\n")
    assert [unit.kind for unit in document.units] == ["heading", "sentence", "sentence", "list_item"]
    best = np.array([[0.8, 0.0], [0.2, 0.4], [0.4, 0.8], [0.5, 0.1]], dtype=np.float32)
    weights = np.array([0.75, 0.25], dtype=np.float32)
    # of the item: max(.5, .75 * .8) from the heading, max(.1, .75 * .8) from the lead-in
    wanted = [0.8 * 0.75, 0.6 * 0.75 + 0.4 * 0.25, 0.6 * 0.75 + 0.8 * 0.25, 0.6 * 0.75 + 0.6 * 0.25]
    assert _means(best, weights, document).tolist() == pytest.approx(wanted)


def test_a_unit_without_tokens_has_none_of_others() -> None:
    document = cut("# A\n\n...\n")
    best = np.array([[0.8], [0.0]], dtype=np.float32)
    assert _means(best, np.ones(1, np.float32), document).tolist() == pytest.approx([0.8, 0.0])
    assert _means(np.zeros((2, 0), np.float32), np.zeros(0, np.float32), document).tolist() == [0, 0]
