"""What measures of passage quality drop, beside random: passages that answer questions, and junk that was planted.

    python -m benchmarks.passage_quality --data FOLDER                            FOLDER/xquad/en.jsonl, ...
    ... --also "SmolLM2=perplexity:model=FOLDER"                                  a measure more, on two sets
    ... --limit 200                                                               a first look; nothing is recorded

The index of a set holds every different sentence of its documents once; those that answer one of its questions are
gold. Planted are as many junk passages as make a fifth of the index: half of them copies of sentences with their words
shuffled, half boilerplate of web pages. At ratios of 75, 50 and 25 % kept, `gold_kept` is the share of gold that is,
`junk_kept` the share of the junk. A measure is worth something if it keeps more gold, or less junk, than random.
Milliseconds are those of scoring a passage, the pass that fits a measure included.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.context_recall import MODELS_ON, asked
from benchmarks.context_sets import find, read
from benchmarks.harness import record
from contextpruner import Example
from contextpruner.quality import prune_index

RATIOS = (0.75, 0.5, 0.25)
SETS = ("xquad/en", "selqa/selqa", "hotpotqa/distractor")
MEASURES = ("random", "divergence", "unique_terms")
BOILERPLATE = (
    "Home | About | Contact | Log in | Page {0}",
    "Click here to read article {0} in full.",
    "Copyright {0} All rights reserved. Terms of use and privacy policy apply.",
    "Share on Facebook Share on Twitter {0} comments Reply",
    "Subscribe to our newsletter! Enter your e-mail address below. {0} people did.",
    "Previous 1 2 3 {0} Next Last",
    "We use cookies to improve your experience. Accept all {0} partners",
    "You are using an outdated browser, version {0}. Please upgrade.",
)


@dataclass(frozen=True)
class Row:
    """One measure on one index; shares by ratio."""

    index: str
    passages: int
    gold: int
    junk: int
    measure: str
    gold_kept: dict[str, float]
    junk_kept: dict[str, float]
    ms_per_passage: float


@dataclass(frozen=True)
class Index:
    """Passages in any order; which are gold and which are junk, bool [passages]."""

    passages: list[str]
    gold: np.ndarray
    junk: np.ndarray


def planted(examples: Sequence[Example], seed: int = 0) -> Index:
    found: dict[str, bool] = {}
    for example in examples:
        item = asked(example)
        texts = [text.strip() for document in item.documents for text in document.texts]
        for text, is_gold in zip(texts, item.gold.tolist(), strict=True):
            found[text] = found.get(text, False) or is_gold
    draw = random.Random(seed)
    n_junk = len(found) // 4
    shuffled = []
    for text in draw.sample(sorted(found), n_junk // 2):
        words = text.split()
        draw.shuffle(words)
        shuffled.append(" ".join(words))
    boilerplate = [draw.choice(BOILERPLATE).format(draw.randrange(10_000)) for _ in range(n_junk - len(shuffled))]
    junk = shuffled + boilerplate
    gold = [*found.values(), *([False] * len(junk))]
    return Index([*found, *junk], np.array(gold), np.arange(len(gold)) >= len(found))


def measured(name: str, shown: str, measure: str, index: Index) -> Row:
    start = time.perf_counter()
    scores = prune_index(lambda: index.passages, measure, 1.0).scores
    ms = 1000 * (time.perf_counter() - start) / len(scores)
    order = np.argsort(-scores, kind="stable")
    kept = {ratio: order[: int(np.ceil(ratio * len(order)))] for ratio in RATIOS}
    return Row(
        index=name,
        passages=len(scores),
        gold=int(index.gold.sum()),
        junk=int(index.junk.sum()),
        measure=shown,
        gold_kept={str(ratio): float(index.gold[best].sum() / index.gold.sum()) for ratio, best in kept.items()},
        junk_kept={str(ratio): float(index.junk[best].sum() / index.junk.sum()) for ratio, best in kept.items()},
        ms_per_passage=ms,
    )


def main() -> None:
    """Every measure on every set; append the record."""
    parser = argparse.ArgumentParser(description="Passage quality: gold and junk that is kept.")
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad/, selqa/, hotpotqa/")
    parser.add_argument("--also", action="append", default=[], help="NAME=MEASURE")
    parser.add_argument("--limit", type=int, help="questions of each set; nothing is recorded then")
    options = parser.parse_args()
    rows = []
    for name in SETS:
        index = planted(list(read(find(options.data, name)))[: options.limit])
        also = [text.split("=", 1) for text in options.also if name in MODELS_ON]
        for shown, measure in [*((text, text) for text in MEASURES), *also]:
            rows.append(measured(name, shown, measure, index))
            print(rows[-1], flush=True)
    if not options.limit:
        print(record("passage_quality", rows))


if __name__ == "__main__":
    main()
