"""Documents of other libraries, by their attributes, and what goes with them: all of it comes back."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from contextpruner import ContextPruner, Document, Policy
from contextpruner.documents.document import read_documents

TEXT = "The dome is tall. Bread is baked."
SOURCE = {"source": "a.pdf", "page": 3}


class TextNode:
    """As LlamaIndex has it: more attributes than anybody asks for, some of them computed."""

    def __init__(self) -> None:
        self.id_, self.metadata, self.text, self.embedding = "n1", SOURCE, TEXT, None

    @property
    def node_id(self) -> str:
        return self.id_


class HaystackDocument:
    """As Haystack has it."""

    def __init__(self) -> None:
        self.id, self.content, self.meta, self.score, self.blob = "h1", TEXT, SOURCE, 0.5, None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (
            SimpleNamespace(page_content=TEXT, metadata=SOURCE, id=None, type="Document"),
            Document(TEXT, metadata=SOURCE),
        ),
        (SimpleNamespace(page_content=TEXT, metadata={}, id="l1", type="Document"), Document(TEXT, "l1")),
        (TextNode(), Document(TEXT, "n1", metadata=SOURCE)),
        (SimpleNamespace(node=TextNode(), score=0.7, text=TEXT, metadata=SOURCE, node_id="n1", id_="n1"), None),
        (HaystackDocument(), Document(TEXT, "h1", metadata=SOURCE)),
        ({"content": TEXT, "meta": SOURCE, "id": "h1"}, Document(TEXT, "h1", metadata=SOURCE)),
        ({"page_content": TEXT, "metadata": SOURCE}, Document(TEXT, metadata=SOURCE)),
        ({"_id": "b1", "title": "T", "text": TEXT, "url": "u"}, Document(TEXT, "b1", "T", metadata={"url": "u"})),
        ({"id": 0, "_id": "x", "text": TEXT}, Document(TEXT, 0, metadata={"_id": "x"})),
        ({"text": TEXT, "content": 3, "metadata": "m"}, Document(TEXT, metadata={"content": 3, "metadata": "m"})),
        ({"text": TEXT, "url": "u", "metadata": {**SOURCE}}, Document(TEXT, metadata={"url": "u", **SOURCE})),
        ({"text": TEXT, "metadata": {"title": "T"}}, Document(TEXT, title="T", metadata={"title": "T"})),
    ],
)
def test_documents_are_taken_as_they_are(given: object, wanted: Document | None) -> None:
    wanted = wanted or Document(TEXT, "n1", metadata=SOURCE)
    assert read_documents([given]) == [wanted]  # type: ignore[list-item]
    result = ContextPruner("bm25").prune("dome?", [given, TEXT], Policy(top_k=1))  # type: ignore[list-item]
    assert result.documents[0].metadata == wanted.metadata
    assert result.documents[0].id == wanted.id
    assert result.documents[1].metadata == {}
    held = json.loads(json.dumps(result.to_dict()))["documents"]
    assert held[0].get("metadata", {}) == wanted.metadata
    assert "metadata" not in held[1]


def test_what_was_given_is_not_changed_by_what_comes_back() -> None:
    source = dict(SOURCE)
    result = ContextPruner("bm25").prune("dome?", [{"text": TEXT, "metadata": source}], Policy(top_k=1))
    source["page"] = 4
    assert result.documents[0].metadata == SOURCE


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (SimpleNamespace(content=None, meta={}, id="x"), "document 0: content wants a string, got NoneType"),
        (SimpleNamespace(body="x"), "document 0 wants a string or something with a text, got SimpleNamespace"),
        ({"text": "a", "_id": [1]}, "document 0: _id wants a string or an integer, got list"),
    ],
)
def test_what_is_no_text_is_refused_by_its_name(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_documents([given])  # type: ignore[list-item]


def test_the_text_of_a_result_is_ready_for_a_prompt() -> None:
    documents = [
        {"text": TEXT, "title": "Domes"},
        "No.",
        {"text": "Domes and bread\n\nA dome.", "title": "Domes and bread"},
        "One dome.",
    ]
    result = ContextPruner("bm25:use_title=false").prune("dome?", documents, threshold=0.1)
    assert result.documents[1].text == ""
    first, rest = result.text.split("\n\n", 1)
    assert first == "Domes\nThe dome is tall."
    # a text that begins with its title has it once
    assert rest.startswith("Domes and bread\n")
    assert rest.count("Domes and bread") == 1
    assert rest.endswith("A dome.\n\nOne dome.")
