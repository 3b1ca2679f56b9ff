"""How far an introduction reaches, and what its words are worth in what it introduces: by what is kept of the answers.

    python -m benchmarks.context_introduced --data FOLDER                 FOLDER/qa/en/omosqa.jsonl.xz, ...
    ... --limit 50                                                        a first look; nothing is recorded

`reach` is how many characters a heading, a question or a lead-in brings along at most (0: the first unit alone), `lent`
what a word of it is worth in the units that it introduces. Sets are those of pages with headings, lists and lead-ins.
Each row is bm25 at one threshold for all questions of a set, the lowest at which 70 % or 80 % of the characters are
removed in the mean, closure included; `default` and `kept` are recall and the share of the characters at bm25's own
threshold.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.context_recall import Asked, asked
from benchmarks.context_sets import find, read
from benchmarks.context_thresholds import REMOVED, at_one_threshold
from benchmarks.harness import record
from contextpruner import Example
from contextpruner.decisions.closure import DEPENDENCIES, kept_from
from contextpruner.labelers import bm25
from contextpruner.units import relations

SETS = ("qa/en/omosqa", "qa/de/omosqa", "qa/fr/omosqa", "qa/en/evidence_inference")
REACHES = (0, 300, 600, 1200, 3600)
LENT = (0.0, 0.25, 0.5, 0.75)
QUESTIONS = 400


@dataclass(frozen=True)
class Row:
    """One set; recall by the share that is removed, recall and kept at the default threshold."""

    questions: str
    n: int
    reach: int
    lent: float
    recall: dict[str, float]
    default: float
    kept: float


def measured(questions: str, examples: Sequence[Example], reach: int, lent: float) -> Row:
    """The row of one set with this reach and this worth."""
    relations.REACH, bm25.LENT = reach, lent
    items = [asked(example) for example in examples]
    labeler = bm25.Bm25()
    values = [_kept_from(labeler, item) for item in items]
    sizes = [np.array([unit.end - unit.start for one in item.documents for unit in one.units]) for item in items]
    kept = [value >= bm25.THRESHOLD for value in values]
    return Row(
        questions,
        len(items),
        reach,
        lent,
        {str(share): at_one_threshold(values, items, share)[0] for share in REMOVED},
        float(np.mean([one[item.gold].mean() for one, item in zip(kept, items, strict=True)])),
        float(np.mean([size[one].sum() / size.sum() for one, size in zip(kept, sizes, strict=True)])),
    )


def _kept_from(labeler: bm25.Bm25, item: Asked) -> np.ndarray:
    probabilities = np.concatenate(labeler.score(item.question, item.documents).probabilities)
    return kept_from(item.documents, DEPENDENCIES, probabilities)


def main() -> None:
    """Every reach at the worth that is in use, and every worth at the reach that is; append the record."""
    parser = argparse.ArgumentParser(
        description="Recall by how far introductions reach and what their words are worth."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/")
    parser.add_argument("--limit", type=int, help="questions of each set; nothing is recorded then")
    options = parser.parse_args()
    reach, lent = relations.REACH, bm25.LENT
    pairs = dict.fromkeys([*((one, lent) for one in REACHES), *((reach, one) for one in LENT)])
    rows: list[Row] = []
    for name in SETS:
        examples = list(itertools.islice(read(find(options.data, name)), options.limit or QUESTIONS))
        for pair in pairs:
            rows.append(measured(name, examples, *pair))
            print(rows[-1], flush=True)
    if not options.limit:
        print(record("context_introduced", rows))


if __name__ == "__main__":
    main()
