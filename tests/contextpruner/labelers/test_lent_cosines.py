"""Late interaction lends a unit the tokens of what introduces it."""

import numpy as np
import pytest
import torch

from contextpruner import Document, SplitDocument, split
from contextpruner.labelers.late_interaction import Question, _of_vectors, _with_lent


def cut(text: str) -> SplitDocument:
    return SplitDocument(Document(text), tuple(split(text)))


def cosines(document: SplitDocument, best: list[list[float]], weights: list[float]) -> list[float]:
    """Of units of one token each, whose cosines with two tokens of a question are `best`."""
    asked = Question(torch.eye(2), np.array(weights, dtype=np.float32))
    encoded = {"vectors": np.array(best, dtype=np.float32), "ends": np.arange(1, len(best) + 1)}
    return _of_vectors([asked], encoded, document)[0].tolist()


def test_a_unit_has_three_quarters_of_what_its_heading_and_its_lead_in_have() -> None:
    document = cut("# A\n\nB one.\n\nC:\n\n- d\n")
    assert [unit.kind for unit in document.units] == ["heading", "sentence", "sentence", "list_item"]
    # of the item: max(.5, .75 * .8) from the heading, max(.1, .75 * .8) from the lead-in
    wanted = [0.8 * 0.75, 0.6 * 0.75 + 0.4 * 0.25, 0.6 * 0.75 + 0.8 * 0.25, 0.6 * 0.75 + 0.6 * 0.25]
    assert cosines(document, [[0.8, 0.0], [0.2, 0.4], [0.4, 0.8], [0.5, 0.1]], [0.75, 0.25]) == pytest.approx(wanted)


def test_a_unit_without_tokens_has_none_of_others() -> None:
    document = cut("# A\n\n...\n\nB.\n")
    places, is_lent, sizes = _with_lent(np.array([2, 0, 1]), document)
    assert (places.tolist(), is_lent.tolist()) == ([0, 1, 2, 0, 1], [False, False, False, True, True])
    assert sizes.tolist() == [2, 0, 3]
