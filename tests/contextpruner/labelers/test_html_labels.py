"""Markup is nothing to a labeler: a page is labelled as the text that a reader sees of it."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from contextpruner import Document, Labeler, SplitDocument, split_html
from contextpruner.labeler import LABELERS, build_labeler
from contextpruner.units.unit import RELATIONS
from prunekernels import registry
from tests.contextpruner.tiny_models import save_tiny_model

PAGE = (
    "<!doctype html><title>Domes</title><style>p { dome: 1 }</style><h1>The dome</h1><div class='dome'><p>It was "
    "<b>designed</b> by Brunelleschi &amp; others.</p><script>dome()</script><p>Bread is baked.</p></div><p hidden>dome"
)
SEEN = ["Domes\n", "The dome\n", "It was designed by Brunelleschi & others.\n", "Bread is baked.\n"]


@pytest.mark.parametrize("name", registry.names(LABELERS))
def test_a_page_is_labelled_as_what_a_reader_sees(name: str, tmp_path: Path) -> None:
    labeler_class = registry.load(LABELERS, name, Labeler)  # type: ignore[type-abstract]
    needs_model = "model" in {field.name for field in dataclasses.fields(labeler_class)}  # type: ignore[arg-type]
    labeler = build_labeler(f"{name}:model={save_tiny_model(name, tmp_path)}" if needs_model else name)
    if name == "random":
        pytest.skip("its draws are seeded by the source")
    page = SplitDocument(Document(PAGE, 1, "T", "html"), tuple(split_html(PAGE)))
    seen = [number for number, unit in enumerate(page.units) if unit.kind != "markup"]
    assert [page.texts[number] for number in seen] == SEEN
    edges = list(itertools.pairwise(np.cumsum([0, *map(len, SEEN)]).tolist()))
    units = zip(page.seen.units, edges, strict=True)
    plain = SplitDocument(
        Document("".join(SEEN), 1, "T"),
        tuple(unit._replace(start=start, end=end, text=None) for unit, (start, end) in units),
    )
    question = "Who designed the dome?"
    there, here = (labeler.score(question, [document]) for document in (plain, page))
    np.testing.assert_allclose(here.probabilities[0][seen], there.probabilities[0], rtol=0, atol=1e-5)
    assert not np.delete(here.probabilities[0], seen).any()
    assert here.scores[0] == pytest.approx(there.scores[0], abs=1e-5)


def test_links_are_those_of_what_is_seen() -> None:
    page = "<h1>A</h1><table><tr><th>n<tr><td>1</table><pre>def f():\n  x</pre>"
    document = SplitDocument(Document(page, format="html"), tuple(split_html(page)))
    seen = document.seen
    assert seen.texts == [text for text in document.texts if text]
    for unit, whole in zip(seen.units, [unit for unit in document.units if unit.kind != "markup"], strict=True):
        for link in RELATIONS:
            there, here = whole.link(link), unit.link(link)
            assert (None if here is None else seen.texts[here]) == (None if there is None else document.texts[there])
    assert [unit.link("heading") for unit in seen.units] == [None, 0, 0, 0, 0]
    assert seen.seen is seen
