"""Scorers over a stream: documents come in batches, and nothing is known of the rest of the corpus.

Scores are those of a score table. A scorer whose `fit` looks at the corpus is refused before a document is read: it is
for `datapruner.score`, whose selection the stream is then filtered by (`_decisions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from datapruner.scoring.scorer import Batch, Scorer, State
from datapruner.scoring.scorer_columns import scorers_by_column
from datapruner.scoring.workspace import Workspace

# documents that are scored together
BATCH = 1024


@dataclass(frozen=True)
class Documents:
    """A batch of documents: ids, texts, and `values`, which gives what each has under a name; KeyError where none."""

    uids: Sequence[str]
    texts: Sequence[str]
    values: Callable[[str], Sequence[object]]

    def numbers(self, name: str) -> np.ndarray:
        """What the documents have under `name`, float32 [n, d], of one number each [n, 1]; raises ValueError."""
        try:
            found = np.asarray(self.values(name), dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"want a number, or numbers of one length, as {name!r} of each document") from error
        return found.reshape(len(self.uids), -1)


def texts_of(uids: Sequence[str], values: Sequence[object]) -> list[str]:
    """`values`, which are to be the texts of the documents `uids`; raises ValueError where one is none."""
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(values):
        uid, value = next(pair for pair in zip(uids, values, strict=True) if not isinstance(pair[1], str))
        raise ValueError(f"document {uid!r}: want a text, got {type(value).__name__}")
    return texts


class StreamScorers:
    """`scorers`, as `datapruner.score` takes them, over batches of documents; models are loaded at the first batch.

    Raises ValueError where a scorer looks at more than texts, numbers and the vectors of an embedder before it.
    """

    def __init__(self, scorers: str | Scorer | Sequence[str | Scorer]) -> None:
        self.columns = scorers_by_column(scorers)
        for name, scorer in self.columns.items():
            scorer.check()
            if other := [need for need in scorer.needs if need != "texts"]:
                raise ValueError(f"{name} wants {other[0]}, and documents of a data engine have texts alone")

    def __getstate__(self) -> dict[str, object]:
        # what was loaded or fitted stays with the process
        return {"columns": {name: replace(scorer) for name, scorer in self.columns.items()}}

    @cached_property
    def states(self) -> dict[str, State]:
        """What each `fit` finds without a look at the corpus; raises ValueError where one wants to see it."""
        return {name: scorer.fitted(_Unseen(name), Workspace()) for name, scorer in self.columns.items()}

    def score(self, documents: Documents) -> dict[str, np.ndarray]:
        """For each name a value a document [n]: scores as "perplexity", float32, details as "rules.failed". Vectors
        serve the scorers after them and are left out."""
        found: dict[str, np.ndarray] = {}
        vectors: dict[str, np.ndarray] = {}
        for name, scorer in self.columns.items():
            batch = _batch(documents, scorer, vectors)
            state = self.states[name]
            scores = scorer.checked(batch, state)
            if scorer.is_vector:
                vectors[name] = scores
                continue
            found[name] = scores
            found |= {f"{name}.{detail}": values for detail, values in scorer.detailed(batch, state).items()}
        return found


def _batch(documents: Documents, scorer: Scorer, vectors: dict[str, np.ndarray]) -> Batch:
    """What `scorer` asks for of `documents`."""
    # a number would be that of another row of the corpus: who goes by it says that there is none
    nowhere = np.full(len(documents.uids), -1, dtype=np.int64)
    read = {name: vectors[name] if name in vectors else documents.numbers(name) for name in scorer.vectors()}
    fields = {name: _texts(documents, name) for name in scorer.fields()}
    return Batch(nowhere, documents.uids, documents.texts, vectors=read, fields=fields)


def _texts(documents: Documents, name: str) -> list[str]:
    try:
        return texts_of(documents.uids, documents.values(name))
    except (KeyError, ValueError) as error:
        raise ValueError(f"want a text as {name!r} of each document") from error


class _Unseen:
    """The corpus, which a stream does not have."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __iter__(self) -> Iterator[Batch]:
        raise ValueError(
            f"{self.name} has to see the whole corpus, and a stream does not have it: score it by datapruner.score, "
            f"select, save the selection, and filter the stream by that"
        )

    def after(self, done: int) -> Iterator[Batch]:
        """As above, for work that is kept."""
        return iter(self)
