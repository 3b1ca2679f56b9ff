"""Quality: a linear classifier against scikit-learn on plain counts, a ridge head against lstsq, and two words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datapruner import Batch
from datapruner.scorers._hashed_words import bucket_counts
from datapruner.scorers.quality import Quality
from datapruner.scorers.quality_head import QualityHead
from datapruner.scorers.quality_lm import QualityLm
from datapruner.scoring.safetensors_mmap import save_safetensors

GOOD = [f"the theorem {word} follows from the lemma" for word in ["one", "two", "three", "four", "five", "six"]]
BAD = [f"buy {word} shoes now and win" for word in ["one", "two", "three", "four", "five", "six", "seven"]]
TEXTS = ["the lemma and the theorem", "win shoes", "", "something else", "buy the theorem now"]


def batch_of(texts: list[str], **vectors: np.ndarray) -> Batch:
    return Batch(np.arange(len(texts)), [f"u{i}" for i in range(len(texts))], texts, vectors=vectors)


def corpus(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture
def good(tmp_path: Path) -> str:
    return corpus(tmp_path / "good.jsonl", [{"text": text} for text in GOOD])


@pytest.fixture
def bad(tmp_path: Path) -> str:
    return corpus(tmp_path / "bad.jsonl", [{"text": text} for text in BAD])


def test_agrees_with_logistic_regression_on_plain_counts(good: str, bad: str) -> None:
    from scipy.optimize import minimize

    scorer = Quality(good, bad, buckets=32, c=3.0)
    scorer.check()

    def features(texts: list[str]) -> np.ndarray:
        counts = np.array([bucket_counts([text], 32) for text in texts], dtype=float)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True).clip(1e-9)

    x, y = features([*GOOD, *BAD]), np.array([1] * len(GOOD) + [-1] * len(BAD))
    share = 3.0 * len(y) / (2 * np.where(y > 0, len(GOOD), len(BAD)))

    def loss(w: np.ndarray) -> float:
        return w[:-1] @ w[:-1] / 2 + share @ np.logaddexp(0, -y * (x @ w[:-1] + w[-1]))

    best = minimize(loss, np.zeros(33), method="L-BFGS-B", options={"gtol": 1e-8, "maxiter": 10_000}).x
    found = scorer.checked(batch_of(TEXTS), scorer.fit([]))
    np.testing.assert_allclose(found, features(TEXTS) @ best[:-1] + best[-1], atol=2e-3)
    assert found[0] > 1 > -1 > found[1]


def test_the_corpus_itself_stands_for_the_negative_one(good: str, bad: str) -> None:
    alone, both = Quality(good, buckets=64), Quality(good, bad, buckets=64)
    batches = [batch_of(BAD[:3]), batch_of(BAD[3:])]
    assert (
        alone.checked(batch_of(TEXTS), alone.fit(batches)).tolist()
        == both.checked(batch_of(TEXTS), both.fit([])).tolist()
    )
    # no more than so many rows are learned from, whatever their order
    few = Quality(good, buckets=64, rows=2)
    first, second = few.fit(batches), few.fit([batch_of(BAD[::-1])])
    assert (first["weight"] == second["weight"]).all()
    assert (first["weight"] != alone.fit(batches)["weight"]).any()


def test_what_was_learned_scores_again(good: str, bad: str, tmp_path: Path) -> None:
    scorer, file = Quality(good, bad, buckets=64), tmp_path / "fit.safetensors"
    state = scorer.fit([])
    save_safetensors(state, file)
    again = Quality(classifier=str(file), buckets=64)
    again.check()
    assert again.checked(batch_of(TEXTS), again.fit([])).tolist() == scorer.checked(batch_of(TEXTS), state).tolist()
    assert again.identity().keys() == {"classifier"}
    save_safetensors({**state, "bias": state["bias"] + 1}, tmp_path / "other.safetensors")
    assert Quality(classifier=str(tmp_path / "other.safetensors")).identity() != again.identity()
    for broken, message in (
        (Quality(classifier=str(file), buckets=65), "want weight of 65 and bias"),
        (Quality(good, classifier=str(file)), "a classifier or corpora to learn one from, got both"),
        (Quality(classifier=str(tmp_path / "none")), "quality.classifier: want the fit.safetensors of a column"),
        (Quality(), "quality.positive: want the path of a corpus, got none"),
        (Quality(good, c=0), "c above 0, got .* and 0"),
    ):
        with pytest.raises(ValueError, match=message):
            broken.check()


def test_a_head_is_ridge_regression(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    x = draws.normal(size=(30, 4)).astype(np.float32)
    y = x @ [1.0, -2.0, 0.5, 0.0] + 3 + draws.normal(size=30) / 10
    rows = [{"embedding": a.tolist(), "rating": float(b)} for a, b in zip(x, y, strict=True)]
    scorer = QualityHead(corpus(tmp_path / "rated.jsonl", rows), rating="rating", penalty=2.0)
    scorer.check()
    state = scorer.fit([])
    # the penalty as rows of its own, none for the bias
    padded = np.vstack([np.hstack([x, np.ones((30, 1))]), np.hstack([np.eye(4) * 2**0.5, np.zeros((4, 1))])])
    expected = np.linalg.lstsq(padded, np.append(y, np.zeros(4)), rcond=None)[0]
    np.testing.assert_allclose(state["weight"], expected[:4], rtol=1e-4, atol=1e-5)
    queries = draws.normal(size=(5, 4)).astype(np.float32)
    batch = batch_of([""] * 5, embedding=queries)
    found = scorer.checked(batch, state)
    np.testing.assert_allclose(found, queries @ expected[:4] + expected[4], rtol=1e-4, atol=1e-5)
    save_safetensors(state, tmp_path / "fit.safetensors")
    again = QualityHead(head=str(tmp_path / "fit.safetensors"))
    again.check()
    assert again.checked(batch, again.fit([])).tolist() == found.tolist()
    with pytest.raises(ValueError, match="wants 'embedding' of 4 numbers, got 3"):
        scorer.score(batch_of([""], embedding=np.zeros((1, 3), np.float32)), state)
    with pytest.raises(ValueError, match="quality_head.examples: .*'?label"):
        QualityHead(scorer.examples).check()


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_two_words_behind_the_prompt(kind: str, tiny_model: Callable[[str], Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, texts = tiny_model(kind), ["a text", "", "another one, somewhat longer", "x" * 80]
    scorer = QualityLm(str(folder), window=64, batch_tokens=100)
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder).double().eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    expected = []
    for text in texts:
        ids = tokenizer(f"Document: {text} Relevant:")["input_ids"]
        if len(ids) > 63:
            ids = [*ids[: 63 - len(" Relevant:")], *ids[-len(" Relevant:") :]]
        # every byte is a token: both words begin with the blank
        with torch.no_grad():
            logits = model(torch.tensor([[*ids, *tokenizer(" ")["input_ids"]]])).logits[0, -1]
        pair = logits[[tokenizer("t")["input_ids"][0], tokenizer("f")["input_ids"][0]]]
        expected.append(float(pair.log_softmax(0)[0]))
    np.testing.assert_allclose(scorer.checked(batch_of(texts)), expected, rtol=1e-4, atol=1e-5)
    for broken, message in (
        (QualityLm(str(folder), prompt="Relevant:"), "wants one {} for the text"),
        (QualityLm(str(folder), positive="yes", negative="yes"), "words of unlike tokens"),
        (QualityLm(str(folder), window=8), "the prompt alone has more tokens"),
    ):
        with pytest.raises(ValueError, match=message):
            # what the model must be asked for, scoring finds out
            (broken.check(), broken.score(batch_of(texts)))


def test_an_encoder_and_decoder_says_its_first_word(tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    import transformers

    config = transformers.T5Config(
        vocab_size=256, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, decoder_start_token_id=0,
        eos_token_id=None, pad_token_id=0, initializer_factor=3.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model("llama"))
    tokenizer.save_pretrained(tmp_path)
    texts = ["a text", "another one, somewhat longer"]
    found = QualityLm(str(tmp_path), positive="t", negative="f").checked(batch_of(texts))
    for text, score in zip(texts, found, strict=True):
        ids = torch.tensor([tokenizer(f"Document: {text} Relevant:")["input_ids"]])
        with torch.no_grad():
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits[0, -1]
        pair = logits[[tokenizer("t")["input_ids"][0], tokenizer("f")["input_ids"][0]]]
        assert score == pytest.approx(float(pair.log_softmax(0)[0]), rel=1e-4)
    assert found[0] != found[1]
