"""Perplexity in other units: a BOS before the text, bits per byte, among texts of like length, over sequences."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datapruner import Batch
from datapruner.corpus.uids import splitmix64
from datapruner.scorers._length_bins import fit_bins, quantiles
from datapruner.scorers._packed import Packed, tokens_of
from datapruner.scorers.perplexity import Perplexity
from tests.datapruner.scorers.plain_perplexity import TEXTS, batch_of, many, plain
from tests.datapruner.tiny_models import VOCABULARY


def with_bos(folder: Path, to: Path) -> Path:
    """The tiny model with "!" as its tokenizer's BOS."""
    shutil.copytree(folder, to)
    settings = json.loads((to / "tokenizer_config.json").read_text("utf-8"))
    (to / "tokenizer_config.json").write_text(json.dumps({**settings, "bos_token": "!"}), "utf-8")
    return to


def test_a_bos_gives_the_first_token_something_before_it(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = str(with_bos(tiny_model("llama"), tmp_path / "bos"))
    scorer = Perplexity(folder, window=17, bos="add")
    found = scorer.checked(batch_of(TEXTS[2:]))
    expected = Perplexity(folder, window=17).checked(batch_of([f"!{text}" for text in TEXTS[2:]]))
    np.testing.assert_allclose(np.log(found), np.log(expected), rtol=2e-5, atol=2e-5)
    assert scorer.checked(batch_of(["a", ""]))[0] != VOCABULARY == scorer.checked(batch_of(["a", ""]))[1]
    with pytest.raises(ValueError, match="perplexity.bos: want a tokenizer with a BOS token, .* has none"):
        Perplexity(str(tiny_model("llama")), bos="add").score(batch_of(TEXTS))


def test_bits_per_byte(tiny_model: Callable[[str], Path]) -> None:
    folder = str(tiny_model("llama"))
    # of the tiny tokenizer every byte is a token: bits of the mean token
    bits = Perplexity(folder, unit="bits_per_byte").checked(batch_of(TEXTS))
    np.testing.assert_allclose(bits, np.log2(Perplexity(folder).checked(batch_of(TEXTS))), rtol=1e-5)
    assert bits[0] == bits[1] == 8
    scorer = Perplexity(folder, unit="bits_per_byte")
    # a tokenizer of half as many tokens
    scorer._loaded.tokenizer.backend_tokenizer.model = _pairs(scorer._loaded.tokenizer.backend_tokenizer, "l", "o")
    halved = Perplexity(folder)
    halved.__dict__["_loaded"] = scorer._loaded
    (found,), (perplexity,) = scorer.checked(batch_of(["lolololo"])), halved.checked(batch_of(["lolololo"]))
    assert found == pytest.approx(math.log2(perplexity) / 2, rel=1e-5)


def _pairs(tokenizer: Any, left: str, right: str) -> Any:
    """A BPE model that has one merge more; the pair takes the number of a token that no text has."""
    from tokenizers import models

    vocabulary = tokenizer.get_vocab()
    rare = min(vocabulary, key=lambda letter: -ord(letter))
    vocabulary[left + right] = vocabulary.pop(rare)
    return models.BPE(vocab=vocabulary, merges=[(left, right)])


def test_correcting_length_ranks_among_texts_of_like_length(tiny_model: Callable[[str], Path]) -> None:
    texts, folder = many(200), str(tiny_model("llama"))
    plain, scorer = Perplexity(folder), Perplexity(folder, correct="length")
    batches = [batch_of(texts[:120]), batch_of(texts[120:])]
    state = scorer.fit(batches)
    found, logs = scorer.checked(batch_of(texts), state), np.log(plain.checked(batch_of(texts)))
    lengths = np.array([len(text) - 1 for text in texts])
    bins = np.searchsorted(state["bins.edges"], lengths, "right")
    assert len(np.unique(bins)) == 6
    for number in np.unique(bins):
        inside = np.flatnonzero(bins == number)
        # mid-ranks: half a row on either side
        ranks = logs[inside].argsort(kind="stable").argsort(kind="stable")
        np.testing.assert_allclose(found[inside], (ranks + 0.5) / len(inside), atol=1e-4)
    assert abs(np.corrcoef(found, lengths)[0, 1]) < 0.15 < abs(np.corrcoef(logs, lengths)[0, 1])


def test_quantiles_stay_in_order_beyond_the_sample() -> None:
    state = fit_bins(np.array([5.0] * 4), np.array([1.0, 2.0, 2.0, 3.0]))
    found = quantiles(state, np.full(8, 5.0), np.array([-9, 0.5, 1, 1.5, 2, 3, 3.5, 40]))
    np.testing.assert_allclose(found[2:6], [1 / 8, 5 / 16, 1 / 2, 7 / 8])
    assert (np.diff(found) > 0).all()
    assert found[0] > 0
    assert found[-1] <= 1
    # shorter and longer than anything in the sample: the nearest bin
    assert quantiles(state, np.array([1.0, 99.0]), np.array([2.0, 2.0])).tolist() == [0.5, 0.5]


def test_lengths_below_the_sample_are_of_its_first_bin() -> None:
    state = fit_bins(np.array([5.0] * 40 + [9.0] * 40), np.arange(80.0))
    assert state["edges"].tolist() == [9.0]
    assert quantiles(state, np.array([1.0, 1.0]), np.array([0.0, 39.0])).tolist() == pytest.approx([1 / 80, 79 / 80])


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (1, []), (2, [2]), (4, [4]), (5, [4]), (6, [4, 2]), (8, [4, 4])])
def test_a_single_token_is_no_sequence(n: int, sizes: list[int]) -> None:
    part = tokens_of([[*range(n)]], None) | {"keys": np.zeros(1, np.uint64)}
    packed = Packed(4, [part])
    assert [len(ids) for group in packed.groups() for ids in group] == sizes
    means = packed.document_means(np.arange(1.0, len(sizes) + 1))
    # the token that is left over counts as of the sequence before it
    weights = [min(4, n - 4 * i) for i in range(len(sizes))]
    left = n - sum(weights)
    expected = (sum(w * (i + 1) for i, w in enumerate(weights)) + left * len(sizes)) / n if sizes else math.nan
    assert means.tolist() == pytest.approx([expected], nan_ok=True)


def test_sequences_agree_with_a_plain_loop(tiny_model: Callable[[str], Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts, folder, size = [*TEXTS, *many(20)], str(tiny_model("llama")), 16
    scorer = Perplexity(folder, window=size, level="sequence", seed=3)
    order = np.argsort(splitmix64(batch_of(texts).keys, 3), kind="stable").tolist()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).double(), AutoTokenizer.from_pretrained(folder)
    stream = [(row, token) for row in order for token in tokenizer(texts[row])["input_ids"]]
    losses: list[list[float]] = [[] for _ in texts]
    mean = math.nan
    for start in range(0, len(stream), size):
        piece = stream[start : start + size]
        if len(piece) > 1:
            mean = math.log(plain(model, [token for _, token in piece], size))
        for row, _ in piece:
            losses[row].append(mean)
    expected = [sum(each) / len(each) if each else math.log(VOCABULARY) for each in losses]
    for batches in ([batch_of(texts)], [batch_of(texts[:5]), batch_of_from(texts, 5)]):
        found = scorer.checked(batch_of(texts), scorer.fit(batches))
        np.testing.assert_allclose(np.log(found), expected, rtol=2e-5, atol=2e-5)


def batch_of_from(texts: list[str], start: int) -> Batch:
    rows = range(start, len(texts))
    return Batch(np.array(rows), [f"u{i}" for i in rows], texts[start:])
