"""Many questions on the same documents: `prune_many` against one call each, the results compared.

    python -m benchmarks.context_many --data FOLDER --model FOLDER      200 questions, 20 documents; recorded
    ... --questions 20                                                  fewer; nothing is recorded then

Documents are the first paragraphs of XQuAD in English, questions its first ones. Both ways read and split the
documents anew; a model is loaded before. Every probability is compared, and which units are kept.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.context_sets import find, read
from benchmarks.harness import record
from contextpruner import ContextPruner, Result

LABELERS = ("bm25", "bi_encoder", "late_interaction")


@dataclass(frozen=True)
class Row:
    """Seconds of both ways; how far probabilities differ at most, and how many units are kept by one of them only."""

    labeler: str
    n_questions: int
    n_documents: int
    one_call_each_s: float
    prune_many_s: float
    times_as_fast: float
    largest_difference: float
    kept_otherwise: int
    n_units: int


def measured(name: str, labeler: str, questions: Sequence[str], documents: Sequence[str]) -> Row:
    """Both ways, one after the other."""
    pruner = ContextPruner(labeler)
    # loads the model, and warms what is warmed once
    pruner.prune(questions[0], documents[:1], top_k=5)
    started = time.perf_counter()
    many = pruner.prune_many(questions, documents, top_k=5)
    between = time.perf_counter()
    each = [pruner.prune(question, documents, top_k=5) for question in questions]
    ended = time.perf_counter()
    there, here = (np.array([_flat(result) for result in results]) for results in (each, many))
    return Row(
        labeler=name,
        n_questions=len(questions),
        n_documents=len(documents),
        one_call_each_s=ended - between,
        prune_many_s=between - started,
        times_as_fast=(ended - between) / (between - started),
        largest_difference=float(np.abs(there[..., 0] - here[..., 0]).max()),
        kept_otherwise=int((there[..., 1] != here[..., 1]).sum()),
        n_units=there[..., 0].size,
    )


def _flat(result: Result) -> list[tuple[float, bool]]:
    return [(span.probability, span.kept) for document in result.documents for span in document.spans]


def main() -> None:
    """Every labeler; append the record."""
    parser = argparse.ArgumentParser(description="prune_many against one call for each question.")
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad/")
    parser.add_argument("--model", required=True, help="a sentence-transformers folder")
    parser.add_argument("--questions", type=int, default=200, help="fewer than 200: nothing is recorded")
    options = parser.parse_args()
    examples = list(read(find(options.data, "xquad/en")))
    questions = [example.question for example in examples[: options.questions]]
    documents = list(dict.fromkeys(str(example.documents[0]) for example in examples))[:20]
    rows = []
    for name in LABELERS:
        row = measured(name, name if name == "bm25" else f"{name}:model={options.model}", questions, documents)
        rows.append(row)
        print(row, flush=True)
    if len(questions) == 200:
        print(record("context_many", rows))


if __name__ == "__main__":
    main()
