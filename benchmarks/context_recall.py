"""How much of what answers a question is kept, by how much text: labelers that need no training, side by side.

    python -m benchmarks.context_recall --data FOLDER                     FOLDER/xquad/en.jsonl, ...
    ... --also "MiniLM=bi_encoder:model=FOLDER"                           a labeler more, on two sets
    ... --labeler "bm25:k1=2" --limit 100                                 a first look; nothing is recorded

For every question the best units are kept up to a share of the characters of all its documents (`max_tokens` with
characters as tokens), and the best one in any case: paragraphs have some five sentences, of which one is more than a
tenth. `recall` is the mean share of a question's gold units that
are kept, `all_gold` the share of questions that keep all of theirs, each at budgets of 10, 20, 30 and 50 %; `kept` the
share of the characters that really is kept. The same budgets with dependency closure on and off: what a kept unit
leans on must fit in the same budget. A second table has the labelers that come with a threshold, at that threshold
and with closure. Milliseconds are those of labelling, without loading a model.
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
from contextpruner import ContextPruner, Example, Labeler, Policy, SplitDocument, split
from contextpruner.decisions.calibration import gold_units
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.decisions.policy import choose
from contextpruner.decisions.rules import is_kept
from contextpruner.documents.document import read_documents

BUDGETS = (0.1, 0.2, 0.3, 0.5)
SETS = ("xquad/en", "xquad/de", "xquad/es", "xquad/ru", "xquad/zh", "selqa/selqa", "hotpotqa/distractor")
# where models of one language are asked: they take their time
MODELS_ON = ("xquad/en", "hotpotqa/distractor")
LABELERS = ("random", "lead", "bm25")


@dataclass(frozen=True)
class Row:
    """One labeler on one set; recall, all_gold and kept by budget."""

    questions: str
    n: int
    labeler: str
    closure: bool
    recall: dict[str, float]
    all_gold: dict[str, float]
    kept: dict[str, float]
    ms_per_question: float


@dataclass(frozen=True)
class AtThreshold:
    """One labeler on one set where no rule is given."""

    questions: str
    n: int
    labeler: str
    threshold: float
    recall: float
    all_gold: float
    kept: float


@dataclass(frozen=True)
class Asked:
    """A question, its documents in units, and which of all units are gold."""

    question: str
    documents: list[SplitDocument]
    gold: np.ndarray


def asked(example: Example) -> Asked:
    documents = [SplitDocument(item, tuple(split(item.text))) for item in read_documents(example.documents)]
    gold = [gold_units(item, spans) for item, spans in zip(documents, example.gold, strict=True)]
    return Asked(example.question, documents, np.concatenate(gold))


def measured(
    questions: str, name: str, labeler: Labeler, items: Sequence[Asked]
) -> tuple[list[Row], list[AtThreshold]]:
    """A row with closure and one without; and one at the labeler's own threshold, if it has one."""
    labeler.prepare()
    start = time.perf_counter()
    labels = [labeler.score(item.question, item.documents).probabilities for item in items]
    ms = 1000 * (time.perf_counter() - start) / len(items)
    rows = []
    for closure in (True, False):
        found = np.array([[_kept(item, values, share, closure) for share in BUDGETS] for item, values in zip(items, labels, strict=True)])  # fmt: skip # noqa: E501
        recall, all_gold, kept = (_by_budget(found[:, :, part].mean(0)) for part in range(3))
        rows.append(Row(questions, len(items), name, closure, recall, all_gold, kept, ms))
    threshold = labeler.default_threshold
    if threshold is None:
        return rows, []
    policy = Policy(threshold=threshold)
    found = np.array([_shares(item, _taken(item, values, policy)) for item, values in zip(items, labels, strict=True)])
    return rows, [AtThreshold(questions, len(items), name, threshold, *found.mean(0).tolist())]


def _by_budget(values: np.ndarray) -> dict[str, float]:
    return dict(zip(map(str, BUDGETS), values.tolist(), strict=True))


def _kept(item: Asked, values: Sequence[np.ndarray], share: float, with_closure: bool) -> tuple[float, float, float]:
    """Shares at a budget of `share` of the characters."""
    total = sum(len(document.document.text) for document in item.documents)
    closure = DEPENDENCIES if with_closure else ()
    best = _taken(item, values, Policy(top_k=1, threshold=0, closure=closure))
    sizes = np.array([unit.end - unit.start for document in item.documents for unit in document.units])
    budget = max(int(share * total), int(sizes[best].sum()))
    return _shares(item, _taken(item, values, Policy(max_tokens=budget, threshold=0, closure=closure)))


def _shares(item: Asked, kept: np.ndarray) -> tuple[float, float, float]:
    """Recall, whether all gold is kept, and the share of the characters that is."""
    sizes = np.array([unit.end - unit.start for document in item.documents for unit in document.units])
    recall = float(kept[item.gold].mean())
    return recall, float(recall == 1), float(sizes[kept].sum() / sizes.sum())


def _taken(item: Asked, values: Sequence[np.ndarray], policy: Policy) -> np.ndarray:
    reasons = choose(policy, item.documents, values, len)
    return np.array([is_kept(reason) for row in reasons for reason in row])


def main() -> None:
    """Every labeler on every set; append the record."""
    parser = argparse.ArgumentParser(description="Recall of gold sentences against compression.")
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad/, selqa/, hotpotqa/")
    parser.add_argument("--set", action="append", help="only these, as in xquad/en")
    parser.add_argument("--labeler", action="append", help="only these; nothing is recorded then")
    parser.add_argument("--also", action="append", default=[], help="NAME=LABELER, on two sets only; recorded")
    parser.add_argument("--limit", type=int, help="questions of each set; nothing is recorded then")
    options = parser.parse_args()
    rows: list[Row] = []
    defaults: list[AtThreshold] = []
    for name in options.set or SETS:
        examples = [asked(example) for example in read(find(options.data, name))][: options.limit]
        also = [text.split("=", 1) for text in options.also if name in MODELS_ON]
        for shown, text in [(text, text) for text in options.labeler or LABELERS] + [(one, two) for one, two in also]:
            budgets, default = measured(name, shown, ContextPruner(text).labeler, examples)
            defaults += default
            for at in default:
                print(f"{name} {shown} from {at.threshold:g}: {at.recall:.3f} {at.all_gold:.3f} {at.kept:.3f}")
            for row in budgets:
                rows.append(row)
                numbers = " ".join(f"{value:.3f}" for part in (row.recall, row.all_gold, row.kept) for value in part.values())  # fmt: skip # noqa: E501
                print(f"{name} {shown} closure={row.closure}: {numbers}, {row.ms_per_question:.1f} ms", flush=True)
    if not options.labeler and not options.limit:
        print(record("context_recall", rows))
        print(record("context_threshold", defaults))


if __name__ == "__main__":
    main()
