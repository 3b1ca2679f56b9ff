"""Whether a labeler's numbers mean the same for every question: recall under one threshold for all of them.

    python -m benchmarks.context_thresholds --data FOLDER                 FOLDER/xquad/en.jsonl.xz, ...
    ... --also "MiniLM=late_interaction:model=FOLDER"                     a labeler more, on the English sets
    ... --limit 100                                                       a first look; nothing is recorded

Of each set one threshold is taken, the lowest at which 70 % of the characters, or 80 %, are removed in the mean over
its questions, and `recall` is the mean share of a question's gold units that reach it; no closure, no best unit that is
kept in any case. `polite` is the same for the same questions behind a preamble, `unknown` behind one whose words occur
nowhere, `typo` with two letters of their two longest words exchanged. `apart` says whether the numbers show
that nothing is relevant: the share of pairs in which the best unit of a question's own documents is above that of
another question's documents (the area under the curve; .5 is chance). `random` and `lead` stand beside. What a labeler
knows of documents whatever is asked is found once for all that is asked of them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from benchmarks.context_recall import LABELERS, Asked, asked
from benchmarks.context_sets import find, read
from benchmarks.harness import record
from contextpruner import ContextPruner, Labeler, Labels, SplitDocument
from contextpruner.documents.cache import Encoded

REMOVED = (0.7, 0.8)
SETS = ("xquad/en", "xquad/de", "xquad/es", "xquad/ru", "xquad/ar", "xquad/zh", "selqa/selqa", "hotpotqa/distractor")
# where models of one language are asked
ENGLISH = ("xquad/en", "selqa/selqa", "hotpotqa/distractor")
POLITE = "Hello, I hope you can help me with this: please tell me in one short answer, "
UNKNOWN = "For a report that my employer Brandlhuber wants before Thursday noon a colleague in the typing pool asks: "
WORD = re.compile(r"[^\W\d_]{5,}")


@dataclass(frozen=True)
class Row:
    """One labeler on one set; recall, for several ways to ask, and threshold by the share that is removed."""

    questions: str
    n: int
    labeler: str
    recall: dict[str, float]
    polite: dict[str, float]
    unknown: dict[str, float]
    typo: dict[str, float]
    threshold: dict[str, float]
    apart: float


def at_one_threshold(values: Sequence[np.ndarray], items: Sequence[Asked], removed: float) -> tuple[float, float]:
    """Recall, and the lowest threshold that removes that share of the characters in the mean over questions."""
    sizes = [np.array([unit.end - unit.start for one in item.documents for unit in one.units]) for item in items]
    flat = np.concatenate(values)
    weights = np.concatenate([size / size.sum() / len(items) for size in sizes])
    order = np.argsort(-flat, kind="stable")
    kept, ranked = np.cumsum(weights[order]), flat[order]
    # equal numbers are kept together or not at all
    is_last = np.append(ranked[1:] != ranked[:-1], True)
    fitting = np.flatnonzero(is_last & (kept <= 1 - removed + 1e-9))
    threshold = float(ranked[fitting[-1]]) if len(fitting) else float("inf")
    recall = np.mean([(value[item.gold] >= threshold).mean() for value, item in zip(values, items, strict=True)])
    return float(recall), min(threshold, 1.0)


def apart(own: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """The area under the curve of the best numbers of `own` against those of `other`."""
    best = np.array([value.max(initial=0) for value in (*own, *other)])
    ranks, n = rankdata(best), len(own)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(other)))


def with_typos(question: str) -> str:
    """`question` with the middle letters of its two longest words exchanged."""
    for word in sorted(set(WORD.findall(question)), key=lambda word: (-len(word), word))[:2]:
        at = len(word) // 2
        question = question.replace(word, word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :], 1)
    return question


def said(labeler: Labeler, items: Sequence[Asked], asked: Sequence[Sequence[str]]) -> Iterator[list[Labels]]:
    """What is said of the documents of each item for each of the questions `asked` about them."""
    known: tuple[list[SplitDocument], Sequence[Encoded] | None] = ([], None)
    for item, questions in zip(items, asked, strict=True):
        if known[0] != item.documents:
            known = item.documents, labeler.encode(item.documents)
        if known[1] is None:
            yield [labeler.score(question, item.documents) for question in questions]
        else:
            yield labeler.score_encoded(questions, item.documents, known[1])


def measured(questions: str, name: str, labeler: Labeler, items: Sequence[Asked]) -> Row:
    """The row of one labeler on one set; another question's documents are those of half the set away."""
    labeler.prepare()
    others = [items[(number + len(items) // 2) % len(items)] for number in range(len(items))]
    ways = [
        (item.question, POLITE + item.question, UNKNOWN + item.question, with_typos(item.question), other.question)
        for item, other in zip(items, others, strict=True)
    ]
    labels = [[np.concatenate(one.probabilities) for one in row] for row in said(labeler, items, ways)]
    plain, polite, unknown, typo, wrong = zip(*labels, strict=True)
    found = {str(share): at_one_threshold(plain, items, share) for share in REMOVED}

    def recall(values: Sequence[np.ndarray]) -> dict[str, float]:
        return {str(share): at_one_threshold(values, items, share)[0] for share in REMOVED}

    return Row(
        questions=questions,
        n=len(items),
        labeler=name,
        recall={share: kept for share, (kept, _) in found.items()},
        polite=recall(polite),
        unknown=recall(unknown),
        typo=recall(typo),
        threshold={share: threshold for share, (_, threshold) in found.items()},
        apart=apart(plain, wrong),
    )


def main() -> None:
    """Every labeler on every set; append the record."""
    parser = argparse.ArgumentParser(description="Recall of gold sentences under one threshold for all questions.")
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad/, selqa/, hotpotqa/")
    parser.add_argument("--also", action="append", default=[], help="NAME=LABELER, on the English sets")
    parser.add_argument("--limit", type=int, help="questions of each set; nothing is recorded then")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in SETS:
        items = [asked(example) for example in read(find(options.data, name))][: options.limit]
        also = [text.split("=", 1) for text in options.also if name in ENGLISH]
        for shown, text in [(text, text) for text in LABELERS] + [(one, two) for one, two in also]:
            rows.append(measured(name, shown, ContextPruner(text).labeler, items))
            print(rows[-1], flush=True)
    if not options.limit:
        print(record("context_thresholds", rows))


if __name__ == "__main__":
    main()
