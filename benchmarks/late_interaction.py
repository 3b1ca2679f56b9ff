"""Late interaction by shortcuts against exact MaxSim: what is found, in how much time, from how many bytes a token.

    python -m benchmarks.late_interaction --data FOLDER --model FOLDER      1,400 passages, 200 questions; recorded
    ... --documents 200 --questions 20                                      fewer; nothing is recorded then

Passages and questions are those of qa/en/nq_oracle, passages of at most 180 tokens; vectors are the token vectors of a
sentence-transformers model, without its special tokens. Attention is what a token receives in the last layer, mean over
heads. Every question is asked of every method in turn, and a method's time is the median over questions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.context_sets import find, read
from benchmarks.harness import record
from benchmarks.token_vectors import Encoded, encode
from contextpruner.models.late_interaction import (
    CentroidIndex,
    IndexSettings,
    SearchSettings,
    build_index,
    centroid_scores,
    max_sim,
    salient_tokens,
    search,
)
from contextpruner.models.late_interaction.arrays import Array
from prunekernels import binary_codes
from prunekernels.pool import pool

N_DOCUMENTS, N_QUESTIONS, TOP_K, MAX_TOKENS = 1400, 200, 10, 180

# a question's vectors in, the best documents out, the best one first
Method = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Corpus:
    """Documents as one array, the questions' vectors, and which document each question was asked of."""

    documents: Encoded
    questions: Sequence[torch.Tensor]
    gold: Sequence[int]


@dataclass(frozen=True)
class Row:
    """Shares of questions and of exact MaxSim's first ten; milliseconds a question; seconds to make the index."""

    method: str
    bytes_per_token: float
    of_exact_top_10: float
    right_one_first: float
    right_one_in_10: float
    ms_per_question: float
    times_as_fast: float
    build_s: float | None = None


@dataclass(frozen=True)
class Contender:
    """A method with what it holds."""

    name: str
    method: Method
    n_bytes: float
    build_s: float | None = None


def contenders(corpus: Corpus, n_codes: int = 256) -> Iterator[Contender]:
    """Exact scores first, then each shortcut, made when its turn comes; the codebook of PLAID is trained once."""
    documents = corpus.documents
    values, lengths = documents.vectors, documents.lengths
    width = values.shape[1] * 4 * len(values)
    yield Contender("exact MaxSim", lambda question: best(max_sim(question, values, lengths)), width)
    yield Contender("exact, padded batches of 128", padded(values, lengths), width)
    pooled = [pool(part, 2).vectors for part in values.split(lengths.tolist()) if len(part)]
    joined, sizes = torch.cat(pooled), [len(part) for part in pooled]
    yield Contender("exact, pooled by 2", lambda question: best(max_sim(question, joined, sizes)), width / 2)
    centroids = None
    for bits in (4, 2, 1):
        started = time.perf_counter()
        index = build_index(values, lengths, IndexSettings(bits=bits), centroids=centroids)
        seconds = time.perf_counter() - started if centroids is None else None
        centroids = index.centroids
        yield of_index(f"PLAID, {bits} bits", index, None, seconds)
        if bits == 4:
            more = SearchSettings(n_probe=8, threshold=None, n_documents=1024)
            yield of_index("PLAID, 4 bits, 8 cells, 1,024 documents", index, more)
    codes = build_index(values, lengths, IndexSettings(bits=0), centroids=centroids)
    yield of_codes(f"centroid interaction, {len(codes.centroids):,} codes", codes)
    yield from hpc(documents, n_codes)
    packed = binary_codes.signs(values)
    yield Contender(
        "bits of signs, Hamming",
        lambda question: best(binary_codes.agreement(binary_codes.signs(question), packed, lengths, values.shape[1])),
        packed.numel(),
    )


def hpc(documents: Encoded, n_codes: int) -> Iterator[Contender]:
    """HPC-ColPali's codes of one byte: of all tokens, of 60 % by attention, of as many at random; and its bits."""
    settings = IndexSettings(n_centroids=n_codes, bits=0)
    noise = torch.rand(len(documents.attention), generator=torch.Generator().manual_seed(0))
    for name, importance, keep_ratio in (
        ("", documents.attention, 1.0),
        (", 60 % by attention", documents.attention, 0.6),
        (", 60 % at random", noise, 0.6),
    ):
        rows, lengths = salient_tokens(importance, documents.lengths, keep_ratio)
        started = time.perf_counter()
        index = build_index(documents.vectors[rows], lengths, settings)
        seconds = time.perf_counter() - started
        yield of_codes(f"{n_codes} codes{name}", index, seconds)
        if not name:
            yield of_codes(f"{n_codes} codes, Hamming", index, binary=True)


def of_index(
    name: str, index: CentroidIndex, settings: SearchSettings | None, build_s: float | None = None
) -> Contender:
    return Contender(
        name,
        lambda question: torch.as_tensor(search(index, question, TOP_K, settings).documents),
        index.n_bytes,
        build_s,
    )


def of_codes(name: str, index: CentroidIndex, build_s: float | None = None, binary: bool = False) -> Contender:
    """Every document by its codes alone; what it holds are the codes and the centroids."""
    held = (index.codes, index.centroids)
    return Contender(
        name,
        lambda question: best(centroid_scores(index, question, binary)),
        sum(each.numel() * each.element_size() for each in held),
        build_s,
    )


def padded(values: torch.Tensor, lengths: torch.Tensor) -> Method:
    """What rerankers do: documents side by side filled up to the longest, one product for each batch."""
    parts = torch.nn.utils.rnn.pad_sequence(values.split(lengths.tolist()), batch_first=True)
    masks = torch.arange(parts.shape[1]) >= lengths[:, None]

    def scored(question: torch.Tensor) -> torch.Tensor:
        found = [
            (batch @ question.T).masked_fill(mask[..., None], -torch.inf).amax(1).sum(1)
            for batch, mask in zip(parts.split(128), masks.split(128), strict=True)
        ]
        return best(torch.cat(found))

    return scored


def best(scores: Array) -> torch.Tensor:
    return torch.as_tensor(scores).sort(descending=True, stable=True).indices[:TOP_K]


def measured(corpus: Corpus, n_codes: int = 256) -> Iterator[Row]:
    """A row for each contender; the first one is exact."""
    exact: list[list[int]] = []
    exact_ms = 0.0
    n_tokens = len(corpus.documents.vectors)
    for contender in contenders(corpus, n_codes):
        contender.method(corpus.questions[0])
        found, times = [], []
        for question in corpus.questions:
            started = time.perf_counter()
            documents = contender.method(question)
            times.append(1e3 * (time.perf_counter() - started))
            found.append(documents.tolist())
        ms = float(torch.tensor(times, dtype=torch.float64).median())
        exact, exact_ms = exact or found, exact_ms or ms
        pairs = [*zip(found, corpus.gold, strict=True)]
        yield Row(
            method=contender.name,
            bytes_per_token=contender.n_bytes / n_tokens,
            of_exact_top_10=_mean(
                len({*here} & {*there}) / len(there) for here, there in zip(found, exact, strict=True)
            ),
            right_one_first=_mean(here[:1] == [gold] for here, gold in pairs),
            right_one_in_10=_mean(gold in here for here, gold in pairs),
            ms_per_question=ms,
            times_as_fast=exact_ms / ms,
            build_s=contender.build_s,
        )


def _mean(shares: Iterator[float]) -> float:
    return float(torch.tensor([*shares], dtype=torch.float64).mean())


def corpus_of(data: Path, model: str, n_documents: int, n_questions: int) -> Corpus:
    """The first passages, and the first questions that were asked of them."""
    examples = list(read(find(data, "qa/en/nq_oracle")))
    texts = list(dict.fromkeys(str(example.documents[0]) for example in examples))[:n_documents]
    places = {text: place for place, text in enumerate(texts)}
    asked = [example for example in examples if str(example.documents[0]) in places][:n_questions]
    documents = encode(model, texts, MAX_TOKENS)
    questions = encode(model, [example.question for example in asked], MAX_TOKENS)
    return Corpus(
        documents,
        questions.vectors.split(questions.lengths.tolist()),
        [places[str(example.documents[0])] for example in asked],
    )


def main() -> None:
    """Every method; append the record."""
    parser = argparse.ArgumentParser(description="Late interaction by shortcuts against exact MaxSim.")
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/en/nq_oracle")
    parser.add_argument("--model", required=True, help="a sentence-transformers folder")
    parser.add_argument("--documents", type=int, default=N_DOCUMENTS, help="fewer: nothing is recorded")
    parser.add_argument("--questions", type=int, default=N_QUESTIONS, help="fewer: nothing is recorded")
    options = parser.parse_args()
    corpus = corpus_of(options.data, options.model, options.documents, options.questions)
    rows = []
    for row in measured(corpus):
        rows.append(row)
        print(row, flush=True)
    if (options.documents, options.questions) == (N_DOCUMENTS, N_QUESTIONS):
        print(record("late_interaction", rows))


if __name__ == "__main__":
    main()
