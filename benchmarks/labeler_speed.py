"""Tokens a second of the packaged pruner, beside LLMLingua-2's package and a reranker of sentences; and what they keep.

    python -m benchmarks.labeler_speed EXAMPLES.jsonl      on 2 threads; the machine should do nothing else
    ... --per-source 1                                     a look at it; nothing is recorded

EXAMPLES is what `contextpruner prepare` writes; at most `--per-source` questions of each source are asked, each with
its own documents. All run one encoder, the packaged one (`labeler_peers`), and are called in turn, one by one.
`provence` reads question and document together, window by window; `cross_encoder` the question with one sentence, in
batches by length; LLMLingua-2's `compress_prompt` no question, once with the documents as a list and once joined
into one text. Tokens are those of the documents, by the packaged tokenizer: what is read twice counts once. Short
questions are those whose documents have at most 512 tokens together. Recall is that of gold units where a threshold
removes 70 % of the characters, as in `benchmarks.pruner.quality`; LLMLingua-2 has none here, for its token head was
not trained for it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.harness import record
from benchmarks.kernel_peers import named
from benchmarks.labeler_peers import llmlingua2, save_reranker, save_token_classifier
from benchmarks.pruner.quality import first_of_each
from contextpruner.decisions.calibration import judge
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.decisions.token_counter import counter_from
from contextpruner.labeler import Labeler, Labels, build_labeler
from contextpruner.labelers.multilingual import MODEL
from contextpruner.training.evaluation.judging import JudgedQuestion
from contextpruner.training.evaluation.questions import Question, cut_questions
from contextpruner.training.evaluation.report import QuestionSet, report
from contextpruner.training.examples.example import read_training_examples

PER_SOURCE, THREADS, WINDOW = 10, 2, 512
OURS = "multilingual"

# what a path says of a question, None where that is nothing about units
Labelling = Callable[[Question], Labels | None]


@dataclass(frozen=True)
class Row:
    """One path; `ours_is_faster` is how many times as many tokens a second the packaged pruner takes."""

    path: str
    questions: int
    tokens: int
    tokens_a_second: float
    tokens_a_second_short: float | None
    tokens_a_second_long: float | None
    ours_is_faster: float
    recall: float | None


@dataclass(frozen=True, eq=False)
class Timed:
    """A path, the seconds of each question, and what it said."""

    name: str
    seconds: np.ndarray
    said: Sequence[Labels | None]


def main() -> None:
    """Run, print, record."""
    parser = argparse.ArgumentParser(description="The packaged pruner's speed beside others.")
    parser.add_argument("examples", type=Path)
    parser.add_argument("--per-source", type=int, default=PER_SOURCE)
    parser.add_argument("--threads", type=int, default=THREADS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    examples = first_of_each(read_training_examples(given.examples), given.per_source)
    questions = cut_questions(examples, counter_from(str(MODEL)))
    with TemporaryDirectory() as folder:
        timed = in_turn(paths(Path(folder)), questions)
    table = rows(timed, questions)
    print(*table, sep="\n")
    if (given.per_source, given.threads) == (PER_SOURCE, THREADS):
        print(record("labeler_speed", table))


def paths(folder: Path) -> dict[str, Labelling]:
    """What is compared, by name; checkpoints are written to `folder`."""
    reranker = save_reranker(folder / "reranker")
    texts = {
        OURS: "multilingual:device=cpu",
        "provence, int8": f"provence:model={MODEL},precision=int8,device=cpu",
        "provence, float32": f"provence:model={MODEL},device=cpu",
        "cross_encoder, int8": f"cross_encoder:model={reranker},precision=int8,device=cpu",
        "cross_encoder, float32": f"cross_encoder:model={reranker},device=cpu",
    }
    compress, package = llmlingua2(save_token_classifier(folder)), named("llmlingua")

    def compressed(question: Question, joined: bool) -> None:
        own = [document.document.text for document in question.documents]
        compress(["\n\n".join(own)] if joined else own)

    return {
        **{name: labelling(build_labeler(text)) for name, text in texts.items()},
        f"{package}, a list": lambda question: compressed(question, False),
        f"{package}, one text": lambda question: compressed(question, True),
    }


def labelling(labeler: Labeler) -> Labelling:
    """What `labeler` says, its model loaded before."""
    labeler.prepare()
    return lambda question: labeler.score(question.example.question, question.documents)


def in_turn(compared: dict[str, Labelling], questions: Sequence[Question]) -> list[Timed]:
    """Every question to every path; what is done at the first call alone is not timed."""
    for path in compared.values():
        path(questions[0])
    seconds = np.zeros((len(compared), len(questions)))
    said: list[list[Labels | None]] = [[] for _ in compared]
    for column, question in enumerate(questions):
        for place, path in enumerate(compared.values()):
            started = time.perf_counter()
            said[place].append(path(question))
            seconds[place, column] = time.perf_counter() - started
    return [Timed(*one) for one in zip(compared, seconds, said, strict=True)]


def rows(timed: Sequence[Timed], questions: Sequence[Question]) -> list[Row]:
    """A row for each path; the first is ours."""
    tokens = np.array([question.tokens.sum() for question in questions])
    is_short = tokens <= WINDOW
    ours = timed[0].seconds.sum()
    return [
        Row(
            path=one.name,
            questions=len(questions),
            tokens=int(tokens.sum()),
            tokens_a_second=float(tokens.sum() / one.seconds.sum()),
            tokens_a_second_short=_rate(tokens, one.seconds, is_short),
            tokens_a_second_long=_rate(tokens, one.seconds, ~is_short),
            ours_is_faster=float(one.seconds.sum() / ours),
            recall=_recall(one, questions),
        )
        for one in timed
    ]


def _rate(tokens: np.ndarray, seconds: np.ndarray, chosen: np.ndarray) -> float | None:
    """Tokens a second of the `chosen` questions, None where there are none."""
    return float(tokens[chosen].sum() / seconds[chosen].sum()) if chosen.any() else None


def _recall(timed: Timed, questions: Sequence[Question]) -> float | None:
    """Of gold units where 70 % of the characters are removed; None where a path says nothing of units."""
    judged = [
        JudgedQuestion(
            question,
            np.concatenate(labels.probabilities),
            labels.scores,
            judge(question.documents, labels.probabilities, question.gold, DEPENDENCIES),
            1000 * float(seconds),
        )
        for question, labels, seconds in zip(questions, timed.said, timed.seconds, strict=True)
        if labels is not None
    ]
    if not judged:
        return None
    cut = report(timed.name, QuestionSet("all", "all", judged), None).at_own
    return None if cut is None else cut.kept.recall


if __name__ == "__main__":
    main()
