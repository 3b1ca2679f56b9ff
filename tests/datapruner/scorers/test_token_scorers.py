"""EL2N over tokens, memorization and IFD: against plain loops in float64, one row at a time."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datapruner import Batch
from datapruner.scorers._length_bins import fit_bins, quantiles
from datapruner.scorers.ifd import Ifd
from datapruner.scorers.memorization import Memorization
from datapruner.scorers.perplexity import Perplexity
from datapruner.scorers.token_el2n import TokenEl2n
from datapruner.scoring.workspace import Workspace
from tests.datapruner.tiny_models import VOCABULARY

TEXTS = ["hello world", "", "a", "naïve 猫", "x" * 40, "The quick brown fox. " * 3]
KINDS = ("llama", "gemma2")


def batch_of(texts: list[str], **more: Any) -> Batch:
    return Batch(np.arange(len(texts)), [f"u{i}" for i in range(len(texts))], texts, **more)


def loaded(folder: Path) -> tuple[Any, Callable[[str], list[int]]]:
    """The model in float64, and its tokenizer as a function."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder).double().eval(), lambda text: tokenizer(text)["input_ids"]


def probabilities(model: Any, ids: list[int], window: int) -> list[torch.Tensor]:
    """Of every token but the first the distribution that the model had."""
    found = []
    for start in range(0, len(ids) - 1, window - 1):
        piece = ids[start : start + window]
        with torch.no_grad():
            found += [*model(torch.tensor([piece])).logits[0].softmax(-1)[: len(piece) - 1]]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_token_el2n_agrees_with_float64(kind: str, tiny_model: Callable[[str], Path]) -> None:
    model, tokenize = loaded(tiny_model(kind))
    expected = []
    for text in TEXTS:
        ids, errors = tokenize(text), []
        for guess, token in zip(probabilities(model, ids, 17), ids[1:], strict=True):
            error = guess.clone()
            error[token] -= 1
            errors.append(float(error.norm()))
        expected.append(sum(errors) / len(errors) if errors else math.sqrt(1 - 1 / VOCABULARY))
    found = TokenEl2n(str(tiny_model(kind)), window=17, batch_tokens=60).checked(batch_of(TEXTS))
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def greedy(model: Any, ids: list[int], n: int) -> list[int]:
    """The likeliest next tokens, each from the whole text before it."""
    for _ in range(n):
        with torch.no_grad():
            ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[-n:]


@pytest.mark.parametrize("kind", KINDS)
def test_memorization_agrees_with_a_plain_loop(kind: str, tiny_model: Callable[[str], Path]) -> None:
    model, tokenize = loaded(tiny_model(kind))
    numbers = {tokenize(letter)[0]: letter for letter in map(chr, range(33, 127))}
    known = []
    for first in [*numbers.values()][::2]:
        said = greedy(model, tokenize(f"ab{first}"), 4)
        known.append((first, [numbers[token] for token in itertools.takewhile(numbers.__contains__, said)]))
    known = sorted(known, key=lambda pair: -len(pair[1]))[:3]
    # by heart up to a place that differs from row to row
    texts = [f"ab{first}{''.join(right[:n])}{'é' * 3}" for first, right in known for n in range(len(right) + 1)]
    texts += ["", "abc", "abcd", "a long text that goes on and on"]
    scorer = Memorization(str(tiny_model(kind)), prompt=3, continuation=6, batch_tokens=30)
    scorer.check()
    found, compared = scorer.checked(batch_of(texts)), []
    for text, score in zip(texts, found, strict=True):
        ids = tokenize(text)
        rest = ids[3:9]
        compared.append(len(rest))
        said = greedy(model, ids[:3], len(rest)) if rest else []
        right = sum(token == guess for token, guess in zip(rest, said, strict=True))
        assert score == pytest.approx(right / max(1, len(rest)))
    assert scorer.details(batch := batch_of(texts))["compared"].tolist() == compared
    assert scorer.checked(batch).tolist() == found.tolist()
    assert len({*found.tolist()}) > 2
    with pytest.raises(ValueError, match="fit into the window of 1024, got 1000 and 32"):
        Memorization(str(tiny_model(kind)), prompt=1000).check()


PAIRS = [
    ("Say hello", "hello world"),
    ("", "an answer without a question"),
    ("What is it?", ""),
    ("One letter", "x"),
    ("p" * 60, "an answer that is longer than the window of the model by far"),
    ("Repeat: aaaaaaaa", "aaaaaaaaaaaa"),
]


def instruction_batch(pairs: list[tuple[str, str]]) -> Batch:
    fields = {"prompt": [prompt for prompt, _ in pairs], "answer": [answer for _, answer in pairs]}
    return Batch(np.arange(len(pairs)), [f"u{i}" for i in range(len(pairs))], [], fields=fields)


@pytest.mark.parametrize("kind", KINDS)
def test_ifd_agrees_with_float64(kind: str, tiny_model: Callable[[str], Path]) -> None:
    model, tokenize = loaded(tiny_model(kind))
    window, expected, counts = 32, [], []
    for prompt, answer in PAIRS:
        ids = tokenize(answer)
        before = tokenize(f"{prompt}\n")[-max(window - len(ids), window // 2) :]
        counts.append(max(0, len(ids) - 1))
        means = []
        for whole in (ids, [*before, *ids]):
            guesses = probabilities(model, whole, window)
            losses = [-float(guess[token].log()) for guess, token in zip(guesses, whole[1:], strict=True)]
            means.append(sum(losses[-counts[-1] :]) / max(1, counts[-1]))
        expected.append(means[1] / means[0] if counts[-1] else 1.0)
    scorer, batch = (
        Ifd(str(tiny_model(kind)), window=window, batch_tokens=64, above_one="kept"),
        instruction_batch(PAIRS),
    )
    scorer.check()
    np.testing.assert_allclose(scorer.checked(batch), expected, rtol=2e-5)
    assert scorer.details(batch)["tokens"].tolist() == counts
    assert min(expected) < 1 < max(expected)
    # what is above 1 comes last
    last = Ifd(str(tiny_model(kind)), window=window).checked(batch)
    np.testing.assert_allclose(last, np.where(np.array(expected) > 1, -1, 1) * np.array(expected), rtol=2e-5)


def test_ifd_with_its_length_controlled(tiny_model: Callable[[str], Path]) -> None:
    pairs = [(f"question {i}", "word " * (i % 12) + f"answer {i * i}") for i in range(96)]
    batch, folder = instruction_batch(pairs), str(tiny_model("llama"))
    scorer = Ifd(folder, control="length", above_one="kept")
    state = scorer.fit([batch])
    found, details = scorer.checked(batch, state), scorer.details(batch, state)
    bins = fit_bins(details["tokens"], details["ifd"].astype(np.float64))
    np.testing.assert_allclose(found, quantiles(bins, details["tokens"], details["ifd"]), atol=1e-3)
    assert len(bins["edges"]) == 2
    assert abs(np.corrcoef(found, details["tokens"])[0, 1]) < 0.25
    with pytest.raises(ValueError, match=r"ifd wants the state that fit\(corpus\) returned"):
        scorer.score(batch)


def test_ifd_refuses(tiny_model: Callable[[str], Path]) -> None:
    folder = str(tiny_model("llama"))
    for scorer, message in (
        (Ifd(folder, above_one="first"), "above_one wants last or kept, got 'first'"),  # type: ignore[arg-type]
        (Ifd(folder, control="words"), "control wants none or length, got 'words'"),  # type: ignore[arg-type]
        (Ifd(folder, sample=0), "sample wants at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.check()


def test_a_cap_reads_the_beginning_of_long_texts(tiny_model: Callable[[str], Path]) -> None:
    folder = str(tiny_model("llama"))
    # of the tiny tokenizer every byte is a token
    texts, cut = ["x y z " * 30, "short", "y" * 41], ["x y z " * 6 + "x y ", "short", "y" * 40]
    for scorer in (
        TokenEl2n(folder, window=17),
        Perplexity(folder, window=17),
        Perplexity(folder, bos="none", level="sequence"),
    ):
        capped = dataclasses.replace(scorer, max_tokens=40)
        found = capped.checked(batch_of(texts), capped.fitted([batch_of(texts)], Workspace()))
        expected = scorer.checked(batch_of(cut), scorer.fitted([batch_of(cut)], Workspace()))
        np.testing.assert_allclose(found, expected, rtol=2e-5)
    fields = {"prompt": ["a question"] * 3, "answer": texts}
    capped = Ifd(folder, max_tokens=40)
    found = capped.checked(batch_of(texts, fields=fields))
    np.testing.assert_allclose(found, Ifd(folder).checked(batch_of(texts, fields={**fields, "answer": cut})), rtol=2e-5)
    assert capped.details(batch_of(texts, fields=fields))["tokens"].tolist() == [39, 4, 39]
    # bits of the mean token that was read, times the tokens of the whole text
    bits = Perplexity(folder, window=17, unit="bits_per_byte", max_tokens=40).checked(batch_of(texts))
    np.testing.assert_allclose(bits, np.log2(Perplexity(folder, window=17).checked(batch_of(cut))), rtol=2e-5)
    with pytest.raises(ValueError, match="token_el2n wants max_tokens of at least 2, got 1"):
        TokenEl2n(folder, max_tokens=1).check()
