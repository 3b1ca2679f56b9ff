"""Labels in front of kept units lead back to their characters."""

from contextpruner import ContextPruner
from contextpruner.results.citations import citations, cited, find_citations

TEXT = "The dome is tall. Bread is baked.\n\n- Dome of brick\n"


def test_labels_lead_back() -> None:
    result = ContextPruner("bm25").prune(
        "dome", [{"text": "No.", "id": 7}, {"text": TEXT, "title": "T"}], threshold=0.1
    )
    assert cited(result) == "[2.1] The dome is tall. \n\n[2.3] - Dome of brick"
    found = find_citations(result, "It is tall [2.1], of brick [2.3][2.1], or not [2.2] [9.9] [0.0] [2].")
    assert [item.label for item in found] == ["2.1", "2.3"]
    for item in found:
        assert TEXT[item.start : item.end] == item.text
        assert (item.document, item.id, item.title) == (1, None, "T")
    labels = [span["label"] for document in result.to_dict()["documents"] for span in document["spans"]]  # type: ignore[attr-defined]
    assert labels == ["1.1", "2.1", "2.2", "2.3"]


def test_labels_stand_behind_the_white_space_of_a_unit() -> None:
    result = ContextPruner("lead").prune("q", ["  A b.\n\n    - c\n", " \n", ""], threshold=0)
    assert cited(result) == "  [1.1] A b.\n\n    [1.2] - c"
    assert [item.label for item in citations(result)] == ["1.1", "1.2"]


def test_nothing_kept_cites_nothing() -> None:
    from contextpruner import Policy

    result = ContextPruner("bm25").prune("dome", ["Bread."], Policy(threshold=0.5, empty="empty"))
    assert cited(result) == ""
    assert find_citations(result, "[1.1]") == []
