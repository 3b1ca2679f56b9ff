"""Documents with ids and metadata for every framework, what has to come of them, and a labeler that wants company."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contextpruner import Labels, SplitDocument
from contextpruner.labelers.bm25 import Bm25
from tests.contextpruner.integrations.served import KEPT, TEXT

BREAD = "Bread is baked from flour. Bees hum."
# id, text, metadata; the first two have something that answers, the last nothing
PASSAGES: list[tuple[str, str, dict[str, object]]] = [
    ("a", TEXT, {"source": "https://example.org/a", "pages": [3, 4]}),
    ("b", f"Stone is heavy. {KEPT}", {"title": "Florence"}),
    ("c", BREAD, {"source": "c"}),
]
N_CALLS = 3
meeting = threading.Barrier(N_CALLS)


@dataclass(frozen=True)
class Meeting(Bm25):
    """Bm25 that labels only when `N_CALLS` calls have come together."""

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        meeting.wait(20)
        return super().label(question, documents)


def check_note(metadata: Mapping[str, object], given: str, kept: str) -> None:
    """The spans in the metadata are those of the kept text, and the tokens are counted."""
    note = metadata["contextpruner"]
    assert isinstance(note, dict)
    assert "".join(given[span["start"] : span["end"]] for span in note["spans"]) == kept
    assert all(0 < span["probability"] <= 1 and span["reason"] == "threshold" for span in note["spans"])
    assert 0 < note["n_tokens_after"] < note["n_tokens_before"]
