"""Real text with planted damage: which selection trains the better language model at equal tokens, and what it finds.

    PYTHONPATH=.:kernels python -m benchmarks.studies.text --texts FOLDER --out FOLDER [--small]

FOLDER has a file a source: Wikipedia introductions, the Brown corpus, mail, manuals, samples of the Pile and C4,
whatever there is (packaged_texts.py makes it; damaged_corpus.py plants the damage). The proxy is a small language model
over byte pairs, judged by bits per byte on clean held-out texts of the same sources; budgets are in tokens, and every
training reads as many. Perplexity is that of a small model which is trained on the other half of the corpus. The
target of `dsir` and `quality` is half of the held-out texts, on which nothing is judged.

The recorded size is what a core does in an hour and a half: 3,600 texts and their damaged companions, 4.7 MB or 1.6
million tokens, of which a training reads a third where all are kept. A GPU does more: `--rows 40000 --steps 40000`, and
a wider model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import record
from benchmarks.studies.damaged_corpus import KINDS, build
from benchmarks.studies.study import Sizes, arguments, finish, run, study_rows
from datapruner import Candidate, Evaluation, Rule, ScoreTable, Source
from datapruner.evaluation.kept_rows import keep
from datapruner.evaluation.settings import Seeds, decides_itself
from prunekernels.io.outputs import atomic_text

SMALL, RECORDED = Sizes(700, 120, 60, 3), Sizes(3600, 200, 500, 5)
RATIOS = (0.3, 0.5)
SMALL_LM = "language_model:vocabulary=1024,width=64,layers=1,window=128,batch_size=8"
LM = "language_model:width=128,layers=2,window=128,batch_size=8,learning_rate=0.003,dtype=bfloat16"


@dataclass(frozen=True)
class FoundRow:
    """Of the planted rows the share that a selection drops at its budget, all and by kind; of the dropped rows the
    share that was planted."""

    way: str
    keep_ratio: float | None
    recall: float
    precision: float
    by_kind: dict[str, float]


def candidates() -> tuple[Candidate, ...]:
    """Ends and middle of perplexity, over all and inside each source; no copies; likeness to a target; together."""
    no_copies = Rule("threshold:maximum=0.8", "near_duplicate")
    clean = (no_copies, Rule("threshold:maximum=0.2", "contamination"))
    rules = {
        "perplexity, low": (Rule("bottom", "perplexity"),),
        "perplexity, middle": (Rule("middle", "perplexity"),),
        "perplexity, high": (Rule("top", "perplexity"),),
        "perplexity, middle of each source": (Rule("middle", "perplexity", None, "source"),),
        "quality": (Rule("top", "quality"),),
        "DSIR": (Rule("gumbel", "dsir"),),
        "likeness to the target": (Rule("top", "likeness"),),
        "no near copies": (no_copies,),
        "no semantic copies": (Rule("threshold:maximum=0.9", "semantic_duplicate"),),
        "no copies, middle perplexity": (*clean, Rule("middle", "perplexity")),
        "no copies, middle of each source": (*clean, Rule("middle", "perplexity", None, "source")),
        "no copies, a draw of each source": (*clean, Rule("random", None, None, "source")),
        "no copies, calibrated quality": (*clean, Rule("calibrated:alpha=0.5", "quality")),
    }
    return tuple(Candidate(name, steps) for name, steps in rules.items())


def study(texts: Path, out: Path, sizes: Sizes, is_small: bool) -> Evaluation:
    """Builds the corpus in `out`, once."""
    made = [out / f"{name}.jsonl" for name in ("train", "test")]
    if not all(path.exists() for path in made):
        made = [*build(texts, out, sizes.rows, 2 * sizes.test_rows)]
    target, judged = halves(made[1])
    own = (
        "vocabulary=1024,width=64,layers=1,tokens=100000"
        if is_small
        else "vocabulary=2048,width=128,layers=2,tokens=600000"
    )
    target_text = json.dumps(str(target))
    return Evaluation(
        Source([str(made[0])], uid="id", group="source"),
        Source([str(judged)], uid="id", group="source"),
        SMALL_LM if is_small else LM,
        candidates(),
        scorers=(
            f"perplexity:reference=train,{own}", "near_duplicate", "embedding=hashed_ngrams", "semantic_duplicate",
            f"quality:positive={target_text}", f"dsir:target={target_text}",
            f"likeness=dsir:target={target_text},per=word", f"contamination:against={json.dumps(str(judged))}",
        ),
        keep_ratios=(0.5,) if is_small else RATIOS,
        budget="tokens",
        baselines=("rs2",),
        steps=sizes.steps,
        checks=2,
        seeds=Seeds(sizes.seeds),
    )  # fmt: skip


def halves(test: Path) -> tuple[Path, Path]:
    """Every other held-out text as the target, and the others, to judge by."""
    lines = test.read_text("utf-8").splitlines(keepends=True)
    paths = test.with_name("target.jsonl"), test.with_name("judged.jsonl")
    for start, path in enumerate(paths):
        if not path.exists():
            with atomic_text(path) as file:
                file.writelines(lines[start::2])
    return paths


def found_damage(evaluation: Evaluation, out: Path, train: Path) -> Iterator[FoundRow]:
    """For each candidate at each budget."""
    kinds = np.array([json.loads(line)["damage"] for line in train.read_text("utf-8").splitlines()])
    table = ScoreTable(out / "scores-0")
    for candidate in evaluation.candidates:
        for ratio in (None,) if decides_itself(candidate.steps[-1]) else evaluation.keep_ratios:
            dropped = np.ones(len(kinds), bool)
            dropped[keep(evaluation, candidate, ratio, table, 0).rows] = False
            is_bad = kinds != ""
            yield FoundRow(
                candidate.name,
                ratio,
                float(dropped[is_bad].mean()),
                float(is_bad[dropped].mean()) if dropped.any() else 0.0,
                {kind: float(dropped[kinds == kind].mean()) for kind in KINDS if (kinds == kind).any()},
            )


def main() -> None:
    options, sizes = arguments(__doc__, SMALL, RECORDED, "texts")
    evaluation = study(options.texts, options.out, sizes, options.small)
    result = run(evaluation, options.out / "evaluation")
    found = list(found_damage(evaluation, options.out / "evaluation", options.out / "train.jsonl"))
    for row in found:
        print(f"{row.way} at {row.keep_ratio}: recall {row.recall:.2f}, precision {row.precision:.2f}")
    finish("text", study_rows("tokens", result), options.is_recorded)
    if options.is_recorded:
        print(record("study_text_damage", found))


if __name__ == "__main__":
    main()
