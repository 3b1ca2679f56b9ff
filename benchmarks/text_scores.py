"""Scorers of text beside what people use for them: perplexity, DSIR's features, and what IFD picks beyond length.

    PYTHONPATH=.:kernels python -m benchmarks.text_scores perplexity --data texts.jsonl --model .models/smollm2
    ... dsir --data texts.jsonl          wants the package data-selection
    ... ifd --data instructions.jsonl --model .models/smollm2

Both sides score the same texts in one process, one thread, in turn; seconds are CPU seconds, the least of the rounds.
perplexity: a loop as it is written everywhere, eight texts at a time in the order of the file, padded, with
all logits and a cross entropy, beside the scorer; it stops where their losses differ. ifd: rows of `instruction`,
`input`, `output` and `in`, a list of the selections that hold the row; AUROC of picking the rows of one of them.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import record, require_green
from datapruner import Batch
from datapruner.scorers._hashed_words import bucket_counts, hashed_words
from datapruner.scorers._length_bins import fit_bins, quantiles
from datapruner.scorers.ifd import Ifd
from datapruner.scorers.length import Length
from datapruner.scorers.perplexity import Perplexity

ROUNDS = 2
WINDOW = 1024
BUCKETS = 10_000


@dataclass(frozen=True)
class SpeedRow:
    """CPU seconds of both, the least of the rounds, and how many times as fast ours is."""

    job: str
    peer: str
    texts: int
    units: int
    unit: str
    seconds: float
    peer_seconds: float
    speedup: float
    largest_difference: float


@dataclass(frozen=True)
class PickRow:
    """AUROC of a score for the rows of a selection, and its rank correlation with the answer's length."""

    job: str
    selection: str
    score: str
    positive: int
    negative: int
    auroc: float
    correlation_with_length: float


def batch_of(texts: Sequence[str], **fields: Sequence[str]) -> Batch:
    return Batch(np.arange(len(texts)), [str(i) for i in range(len(texts))], texts, fields=fields)


def read(path: Path) -> list[dict[str, object]]:
    with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def least(runs: Sequence[Callable[[], object]]) -> list[float]:
    """The least CPU seconds of each of `runs`, taken in turn."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for place, run in enumerate(runs):
            start = time.process_time()
            run()
            seconds[place].append(time.process_time() - start)
    return [min(each) for each in seconds]


@torch.inference_mode()
def padded_loop(scorer: Perplexity, texts: Sequence[str]) -> np.ndarray:
    """Log perplexity of each text by the plain loop."""
    loaded, found = scorer._loaded, []
    tokenizer, model = loaded.tokenizer, loaded.model
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "right"
    for start in range(0, len(texts), 8):
        inputs = tokenizer([*texts[start : start + 8]], return_tensors="pt", padding=True)
        logits = model(**inputs).logits[:, :-1]
        labels, mask = inputs["input_ids"][:, 1:], inputs["attention_mask"][:, 1:]
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        losses = losses.view_as(labels)
        found += ((losses * mask).sum(1) / mask.sum(1)).tolist()
    return np.array(found)


def perplexity_rows(arguments: argparse.Namespace) -> list[SpeedRow]:
    scorer = Perplexity(str(arguments.model), window=WINDOW, device="cpu")
    texts = [str(row["text"]) for row in read(arguments.data)]
    lengths = [len(ids) for ids in scorer._loaded.tokenize(texts)]
    # in the loop a text has one window
    chosen = [text for text, length in zip(texts, lengths, strict=True) if 2 <= length <= WINDOW][: arguments.texts]
    tokens = sum(map(len, scorer._loaded.tokenize(chosen)))
    batch = batch_of(chosen)
    difference = float(np.abs(np.log(scorer.score(batch)) - padded_loop(scorer, chosen)).max())
    if difference > 1e-4:
        raise SystemExit(f"the two differ by {difference} in log perplexity")
    seconds, peer = least([lambda: scorer.score(batch), lambda: padded_loop(scorer, chosen)])
    return [
        SpeedRow(
            "perplexity", "padded loop of 8", len(chosen), tokens, "tokens", seconds, peer, peer / seconds, difference
        )
    ]


def dsir_rows(arguments: argparse.Namespace) -> list[SpeedRow]:
    from data_selection.hashed_ngram_dsir import get_ngram_counts

    texts = [str(row["text"]) for row in read(arguments.data)][: arguments.texts]
    weights = np.random.default_rng(0).normal(size=BUCKETS)

    def ours() -> list[np.ndarray]:
        return [np.bincount(block.owners, weights[block.buckets]) for block in hashed_words(texts, BUCKETS)]

    def peer() -> list[float]:
        return [float(weights @ get_ngram_counts(text, num_buckets=BUCKETS)) for text in texts]

    # hashes differ, how many words and pairs there are does not
    counts = [int(get_ngram_counts(text, num_buckets=BUCKETS).sum()) for text in texts]
    difference = max(abs(int(bucket_counts([text], BUCKETS).sum()) - n) for text, n in zip(texts, counts, strict=True))
    seconds, other = least([ours, peer])
    words = sum(counts)
    return [
        SpeedRow(
            "dsir", "data-selection", len(texts), words, "words and pairs", seconds, other, other / seconds, difference
        )
    ]


def auroc(scores: np.ndarray, is_positive: np.ndarray) -> float:
    """The probability that a positive row scores above another one; ties count half."""
    pairs = scores[is_positive][:, None] - scores[~is_positive][None]
    return float(((pairs > 0) + (pairs == 0) / 2).mean())


def ifd_rows(arguments: argparse.Namespace) -> list[PickRow]:
    rows, draw = read(arguments.data), random.Random(0)
    universe = [row for row in rows if "random9k" in row["in"]]  # type: ignore[operator]
    chosen: list[dict[str, object]] = []
    for wanted in (True, False):
        of_kind = [row for row in universe if (arguments.selection in row["in"]) == wanted]  # type: ignore[operator]
        chosen += draw.sample(of_kind, arguments.texts // 2)
    is_positive = np.arange(len(chosen)) < arguments.texts // 2
    answers = [str(row["output"]) for row in chosen]
    prompts = ["\n".join(filter(None, (str(row["instruction"]), str(row["input"])))) for row in chosen]
    batch = batch_of(answers, prompt=prompts, answer=answers)
    plain = Ifd(str(arguments.model), device="cpu")
    found = plain.score(batch)
    details = plain.details(batch)
    # what control="length" does, without asking the model again
    bins = fit_bins(details["tokens"], details["ifd"].astype(np.float64))
    within = quantiles(bins, details["tokens"], details["ifd"].astype(np.float64))
    lengths = Length().score(batch)
    scores = {
        "length of the answer": lengths,
        "ifd as printed": details["ifd"],
        "ifd": found,
        "ifd, control=length": np.where(details["ifd"] > 1, -within, within),
    }
    result = []
    for name, values in scores.items():
        ours, theirs = (each.argsort(kind="stable").argsort(kind="stable") for each in (values, lengths))
        correlation = float(np.corrcoef(ours, theirs)[0, 1])
        half = len(chosen) // 2
        result.append(PickRow("ifd", arguments.selection, name, half, half, auroc(values, is_positive), correlation))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=["perplexity", "dsir", "ifd"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path(".models/smollm2"))
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--selection", default="ifd_top5")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tests = {"perplexity": "test_perplexity.py", "dsir": "test_targets.py", "ifd": "test_token_scorers.py"}
    require_green([f"tests/datapruner/scorers/{tests[arguments.job]}"])
    jobs: dict[str, Callable[[argparse.Namespace], Sequence[object]]] = {
        "perplexity": perplexity_rows,
        "dsir": dsir_rows,
        "ifd": ifd_rows,
    }
    made = jobs[arguments.job](arguments)
    for row in made:
        print(row)
    record("text_scores", made)


if __name__ == "__main__":
    main()
