"""DSIR against a plain count, RDS+ against plain pooling and turns taken one by one."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner import Batch
from datapruner.corpus.uids import hash64, splitmix64
from datapruner.scorers import _hashed_words
from datapruner.scorers._hashed_words import bucket_counts
from datapruner.scorers._round_robin import round_robin
from datapruner.scorers.dsir import Dsir
from datapruner.scorers.target_similarity import TargetSimilarity

TARGET = ["the proof of the theorem is short", "a lemma and its proof", "theorem and lemma"]
TEXTS = ["The proof is short.", "buy shoes now", "", "buy the theorem", "shoes, shoes, shoes!", "a lemma"]


def batch_of(texts: list[str], start: int = 0) -> Batch:
    return Batch(np.arange(start, start + len(texts)), [f"u{start + i}" for i in range(len(texts))], texts)


@pytest.fixture
def target(tmp_path: Path) -> str:
    path = tmp_path / "target.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TARGET), "utf-8")
    return str(path)


def grams(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    return [(word,) for word in words] + [*zip(words[:-1], words[1:], strict=True)]


def bucket(gram: tuple[str, ...], n: int) -> int:
    (found,) = np.flatnonzero(bucket_counts([gram[0]], n)) if len(gram) == 1 else (None,)
    if found is None:
        whole = bucket_counts([" ".join(gram)], n)
        for word in gram:
            whole[bucket((word,), n)] -= 1
        (found,) = np.flatnonzero(whole)
    return int(found)


def test_dsir_agrees_with_a_plain_count(target: str) -> None:
    scorer = Dsir(target, buckets=64)
    state = scorer.fit([batch_of(TEXTS[:4]), batch_of(TEXTS[4:], 4)])
    counts = [Counter(bucket(gram, 64) for text in texts for gram in grams(text)) for texts in (TARGET, TEXTS)]
    totals = [sum(count.values()) for count in counts]

    def weight(place: int) -> float:
        shares = [count[place] / total + 1e-8 for count, total in zip(counts, totals, strict=True)]
        return math.log(shares[0]) - math.log(shares[1])

    expected = [sum(weight(bucket(gram, 64)) for gram in grams(text)) for text in TEXTS]
    assert scorer.checked(batch_of(TEXTS), state).tolist() == pytest.approx(expected, rel=1e-6)
    mean = [total / max(1, len(grams(text))) for total, text in zip(expected, TEXTS, strict=True)]
    assert Dsir(target, buckets=64, per="word").checked(batch_of(TEXTS), state).tolist() == pytest.approx(
        mean, rel=1e-6
    )
    # what is like the target has the higher weights
    assert Dsir(target).default_selector == "gumbel"
    found = Dsir(target).checked(batch_of(TEXTS), Dsir(target).fit([batch_of(TEXTS)]))
    assert found[5] > 0 > max(found[[1, 4]])


def test_words_are_hashed_alike_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [block.buckets[block.owners == i] for block in _hashed_words.hashed_words(TEXTS, 999) for i in range(6)]
    monkeypatch.setattr(_hashed_words, "BLOCK_CHARACTERS", 20)
    blocks = [*_hashed_words.hashed_words(TEXTS, 999)]
    assert [block.texts for block in blocks][0] == slice(0, 1)
    assert len(blocks) > 3
    parts = [b.buckets[b.owners == i] for b in blocks for i in range(b.texts.stop - b.texts.start)]
    assert [part.tolist() for part in parts] == [part.tolist() for part in whole]
    # a pair has an order and is no word
    assert (bucket_counts(["b a"], 1 << 20) != 0).sum() == 3
    assert (
        np.flatnonzero(bucket_counts(["a b"], 1 << 20)).tolist()
        != np.flatnonzero(bucket_counts(["b a"], 1 << 20)).tolist()
    )


def pooled(scorer: TargetSimilarity, texts: list[str]) -> np.ndarray:
    """The definition, one text at a time in float64."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(scorer.model).double().eval()
    found = np.zeros((len(texts), 32))
    for row, ids in enumerate(scorer._loaded.tokenize(texts)):
        ids = ids[: scorer.window]
        if ids:
            with torch.no_grad():
                hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
            mean = sum((i + 1) * state for i, state in enumerate(hidden)) / sum(range(1, len(ids) + 1))
            found[row] = mean / mean.norm()
    return found


@pytest.mark.parametrize("combine", ["max", "mean", "round_robin"])
def test_target_similarity_agrees_with_float64(combine: str, target: str, tiny_model: Callable[[str], Path]) -> None:
    scorer = TargetSimilarity(str(tiny_model("llama")), target=target, window=16, combine=combine)  # type: ignore[arg-type]
    scorer.check()
    state = scorer.fit([batch_of(TEXTS[:4]), batch_of(TEXTS[4:], 4)])
    cosines = pooled(scorer, TEXTS) @ pooled(scorer, TARGET).T
    batch = batch_of(TEXTS)
    found = scorer.checked(batch, state)
    assert scorer.details(batch, state)["nearest_target"].tolist() == cosines.argmax(1).tolist()
    if combine != "round_robin":
        expected = cosines.max(1) if combine == "max" else cosines.mean(1)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
        return
    taken: list[int] = []
    while len(taken) < len(TEXTS):
        column = cosines[:, len(taken) % 3].copy()
        column[taken] = -np.inf
        taken.append(int(column.argmax()))
    assert np.argsort(-found).tolist() == taken
    assert found.max() == 1


def test_turns_are_taken_one_by_one() -> None:
    draws = np.random.default_rng(0)
    for n_rows, n_examples in ((1, 1), (7, 3), (300, 2), (150, 9)):
        similarities = draws.random((n_rows, n_examples)).round(1)
        keys = draws.integers(0, 2**63, n_rows).astype(np.uint64)
        place, nearest = round_robin([similarities[:5], similarities[5:]], keys)
        left, expected = set(range(n_rows)), np.zeros(n_rows)
        for turn in range(n_rows):
            best = max(left, key=lambda row: (similarities[row, turn % n_examples], -int(keys[row])))
            left.remove(best)
            expected[best] = turn
        assert place.tolist() == expected.tolist()
        assert nearest.tolist() == similarities.argmax(1).tolist()


def test_no_example_is_left_out(target: str) -> None:
    # by the largest cosine the second example would get nothing
    similarities = np.array([[0.9, 0.0], [0.8, 0.1], [0.7, 0.3], [0.6, 0.2]])
    place, _ = round_robin([similarities], splitmix64(hash64("abcd"), 0))
    assert place.tolist() == [0, 2, 1, 3]


def test_refuses_what_cannot_work(target: str, tiny_model: Callable[[str], Path]) -> None:
    model = str(tiny_model("llama"))
    for scorer, message in (
        (Dsir(), "dsir.target: want the path of a corpus, got none"),
        (Dsir(target, target_text="body"), "dsir.target: .*body"),
        (Dsir(target, buckets=1), "at least 2 buckets .* got 1"),
        (Dsir(target, per="token"), "per document or word, got 10000 and 'token'"),  # type: ignore[arg-type]
        (TargetSimilarity(model, target=target, combine="min"), "round_robin, max or mean, got 'min'"),  # type: ignore[arg-type]
        (TargetSimilarity(model), "target_similarity.target: want the path of a corpus, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.check()
    with pytest.raises(ValueError, match=r"dsir wants the state that fit\(corpus\) returned"):
        Dsir(target).score(batch_of(TEXTS))


def test_identity_hangs_on_the_target_and_not_its_place(target: str, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.jsonl"
    copy.write_text(Path(target).read_text("utf-8"), "utf-8")
    assert Dsir(str(copy)).identity() == Dsir(target).identity()
    copy.write_text('{"text": "other"}\n', "utf-8")
    assert Dsir(str(copy)).identity() != Dsir(target).identity()
