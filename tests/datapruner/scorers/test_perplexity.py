"""Perplexity: against a plain loop over one document at a time in float64, for heads that are plain and not."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datapruner import Batch
from datapruner.corpus.uids import splitmix64
from datapruner.scorers import _learner
from datapruner.scorers._cross_fit import halves
from datapruner.scorers._length_bins import fit_bins, quantiles
from datapruner.scorers._packed import Packed, tokens_of
from datapruner.scorers._windows import Window, batches_of, windows_of
from datapruner.scorers.perplexity import Perplexity
from datapruner.scoring.workspace import Workspace
from tests.datapruner.tiny_models import VOCABULARY

KINDS = {"llama": True, "gpt2": True, "phi": True, "gemma2": False, "granite": False, "cohere": False}
TEXTS = [
    "a",
    "",
    "ab",
    "hello world",
    "x" * 50,
    "naïve 猫 🙂",
    "The quick brown fox jumps over the lazy dog. " * 4,
    "hi",
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Layers this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch_of(texts: list[str]) -> Batch:
    return Batch(np.arange(len(texts)), [f"u{i}" for i in range(len(texts))], texts)


def plain(model: torch.nn.Module, ids: list[int], window: int) -> float:
    """The definition, one document and one window at a time."""
    if len(ids) < 2:
        return float(VOCABULARY)
    losses = []
    for start in range(0, len(ids) - 1, window - 1):
        piece = ids[start : start + window]
        with torch.no_grad():
            found = model(torch.tensor([piece])).logits[0].log_softmax(-1)
        losses += [-found[place, token].item() for place, token in enumerate(piece[1:])]
    assert len(losses) == len(ids) - 1
    return math.exp(sum(losses) / len(losses))


@pytest.mark.parametrize("window", [1024, 17, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_float64(kind: str, window: int, tiny_model: Callable[[str], Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_model(kind)
    scorer = Perplexity(model=str(folder), window=window, batch_tokens=128)
    assert scorer._loaded.plain_head == KINDS[kind]
    found = scorer.checked(batch_of(TEXTS))
    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = [plain(model, tokenizer(text, add_special_tokens=False)["input_ids"], window) for text in TEXTS]
    # sums over 32 and 256 terms in float32, errors relative to losses of up to about 10
    np.testing.assert_allclose(np.log(found), np.log(expected), rtol=2e-5, atol=2e-5)


def test_probe_would_be_wrong_without_the_fallback(tiny_model: Callable[[str], Path]) -> None:
    # a head that is taken as plain though logits are capped gives another score: the probe matters
    import dataclasses

    for kind in ("gemma2", "granite", "cohere"):
        scorer = Perplexity(model=str(tiny_model(kind)))
        right = scorer.checked(batch_of(TEXTS[3:]))
        forced = Perplexity(model=str(tiny_model(kind)))
        forced.__dict__["_loaded"] = dataclasses.replace(scorer._loaded, plain_head=True)
        assert np.abs(np.log(right) - np.log(forced.checked(batch_of(TEXTS[3:])))).max() > 0.1


def test_fewer_than_two_tokens_know_nothing(tiny_model: Callable[[str], Path]) -> None:
    found = Perplexity(model=str(tiny_model("llama"))).checked(batch_of(["", "a", ""]))
    assert found.tolist() == [VOCABULARY] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_and_order_change_nothing(kind: str, tiny_model: Callable[[str], Path]) -> None:
    scorer = Perplexity(model=str(tiny_model(kind)))
    alone = [float(scorer.checked(batch_of([text]))[0]) for text in TEXTS]
    for tokens in (1, 64, 100_000):
        scorer = Perplexity(model=str(tiny_model(kind)), batch_tokens=tokens)
        for order in (range(8), range(7, -1, -1), [3, 0, 6, 1, 7, 2, 5, 4]):
            found = scorer.checked(batch_of([TEXTS[i] for i in order]))
            np.testing.assert_allclose(np.log(found), np.log([alone[i] for i in order]), rtol=2e-5, atol=2e-5)


def test_windows_score_every_token_but_the_first_once() -> None:
    for n in range(40):
        for size in (2, 3, 7, 13):
            ids = list(range(n))
            windows = list(windows_of(0, ids, size))
            assert [token for window in windows for token in window.ids[1:]] == ids[1:]
            assert all(2 <= len(window.ids) <= size for window in windows)


def test_batches_keep_to_their_tokens() -> None:
    windows = [Window(i, [0] * n) for i, n in enumerate([5, 100, 2, 7, 7, 30, 2, 64])]
    batches = list(batches_of(windows, 64))
    assert sorted(window.document for batch in batches for window in batch) == list(range(8))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(len(window.ids) for window in batch) <= 64
    assert len(batches) < 6


def test_logits_that_are_held_whole_are_few(tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Perplexity(model=str(tiny_model("granite")))
    expected = scorer.checked(batch_of(TEXTS))
    sizes = []
    forward = scorer._loaded.model.forward
    monkeypatch.setattr("datapruner.scorers._causal_lm._LOGITS", 256 * 60)
    monkeypatch.setattr(
        scorer._loaded.model, "forward", lambda **inputs: sizes.append(inputs["input_ids"].numel()) or forward(**inputs)
    )
    np.testing.assert_allclose(scorer.checked(batch_of(TEXTS)), expected, rtol=1e-4)
    assert sizes[0] > 60
    assert max(sizes[1:]) <= 60


def test_bfloat16_is_near(tiny_model: Callable[[str], Path]) -> None:
    folder = str(tiny_model("llama"))
    whole = np.log(Perplexity(model=folder).checked(batch_of(TEXTS)))
    half = np.log(Perplexity(model=folder, dtype="bfloat16").checked(batch_of(TEXTS)))
    assert 0 < np.abs(whole - half).max() < 0.3


def test_special_tokens_are_not_added(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path / "bos"
    shutil.copytree(tiny_model("llama"), folder)
    scorer = Perplexity(model=str(folder))
    scorer._loaded.tokenizer._tokenizer.post_processor = TemplateProcessing(single="! $A", special_tokens=[("!", 0)])
    assert scorer._loaded.tokenizer("ab")["input_ids"][0] == 0
    expected = Perplexity(model=str(tiny_model("llama"))).checked(batch_of(TEXTS))
    assert (scorer.checked(batch_of(TEXTS)) == expected).all()


def test_a_text_on_which_the_model_fails_is_named(tiny_model: Callable[[str], Path]) -> None:
    scorer = Perplexity(model=str(tiny_model("granite")))
    token = scorer._loaded.tokenize(["z"])[0][0]
    with torch.no_grad():
        scorer._loaded.model.get_input_embeddings().weight[token] = torch.nan
    with pytest.raises(ValueError, match="loss is not finite on 'u1'"):
        scorer.checked(batch_of(["ab", "azb", "cd"]))


def test_refuses_what_cannot_work(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = str(tiny_model("gpt2"))
    for scorer, message in (
        (Perplexity(model=folder, window=1), "window of at least 2"),
        (Perplexity(model=folder, window=4096), "window is 4096, .* has 2048 positions"),
        (Perplexity(model=folder, dtype="int8"), "float32 or bfloat16, got 'int8'"),  # type: ignore[arg-type]
        (Perplexity(model=str(tmp_path / "nowhere")), "hub id of a checkpoint, got .*nowhere"),
        (Perplexity(model=str(tmp_path)), "want a checkpoint with a config.json, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.check()
    # weights in a pickle are not read
    (tmp_path / "pickled").mkdir()
    config = json.loads((Path(folder) / "config.json").read_text())
    (tmp_path / "pickled" / "config.json").write_text(json.dumps(config))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ValueError, match="got pytorch_model.bin, a pickle, which is never read"):
        Perplexity(model=str(tmp_path / "pickled")).identity()


def test_identity_hangs_on_the_weights(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_model("llama"), folder)
    first = Perplexity(model=str(folder)).identity()
    assert first == Perplexity(model=str(tiny_model("llama"))).identity()
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert Perplexity(model=str(folder)).identity() != first


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


def many(n: int) -> list[str]:
    return [f"{'word ' * (i % 17)}number {i * i}" for i in range(n)]


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


def reference(**more: Any) -> Perplexity:
    return Perplexity(window=16, reference="train", vocabulary=300, width=16, layers=1, tokens=2000, **more)


def test_a_reference_never_learned_from_what_it_scores() -> None:
    texts = many(60) * 2
    scorer, batch = reference(unit="bits_per_byte"), batch_of(texts)
    first, second = halves(texts, 0)
    # copies are in one half
    assert sorted([*first, *second]) == list(range(120))
    assert {texts[i] for i in first}.isdisjoint(texts[i] for i in second)
    assert 40 < len(first) < 80
    state = scorer.fit([batch])
    found = scorer.checked(batch, state)
    assert found.max() < 8
    # other rows of the half that is scored change nothing, other rows of the half that is learned from do
    for half, other in ((first, second), (second, first)):
        kept = [*half[:1], *other]
        alone = reference(unit="bits_per_byte")
        part = Batch(np.arange(len(kept)), [f"u{i}" for i in kept], [texts[i] for i in kept])
        assert alone.checked(part, alone.fit([part]))[0] == pytest.approx(found[half[0]], rel=1e-4)
        assert np.abs(alone.checked(part, alone.fit([part]))[1:] - found[other]).max() > 1e-2


def test_a_reference_is_the_same_again_and_in_any_order() -> None:
    texts = many(60)
    batch, turned = batch_of(texts), Batch(np.arange(60), [f"u{i}" for i in range(59, -1, -1)], texts[::-1])
    draws = torch.get_rng_state()
    state = reference().fit([batch])
    assert (torch.get_rng_state() == draws).all()
    again = reference().fit([turned])
    assert state.keys() == again.keys()
    assert all((state[name] == again[name]).all() for name in state)
    other = reference(seed=1).fit([batch])
    assert any(state[name].shape != other[name].shape or (state[name] != other[name]).any() for name in state)
    with pytest.raises(ValueError, match="wants text in both halves of the corpus, got none in one"):
        reference().fit([batch_of(["one text alone"])])


class StoppedError(Exception):
    pass


def test_training_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    batch = batch_of(many(60))
    whole = reference().fit([batch])
    monkeypatch.setattr(_learner, "EVERY", 0.0)
    learn, steps = _learner.Learner._learn, []

    def stops(self: _learner.Learner, ids: torch.Tensor) -> None:
        if len(steps) == 5:
            raise StoppedError
        steps.append(self.step)
        learn(self, ids)

    monkeypatch.setattr(_learner, "STEP_TOKENS", 128)
    expected = reference().fit([batch])
    monkeypatch.setattr(_learner.Learner, "_learn", stops)
    with pytest.raises(StoppedError):
        reference().fit([batch], Workspace(tmp_path / "w"))
    assert steps == [0, 1, 2, 3, 4]
    monkeypatch.setattr(_learner.Learner, "_learn", lambda self, ids: (steps.append(self.step), learn(self, ids))[1])
    found = reference().fit([batch], Workspace(tmp_path / "w"))
    # step 5 comes next, not the first again
    assert steps[5] == 5
    assert all((found[name] == expected[name]).all() for name in expected)
    assert any((found[name] != whole[name]).any() for name in whole)


def test_refuses_fields_that_do_not_go_together(tiny_model: Callable[[str], Path]) -> None:
    folder = str(tiny_model("llama"))
    for scorer, message in (
        (Perplexity(folder, level="page"), "level wants document or sequence, got 'page'"),  # type: ignore[arg-type]
        (Perplexity(folder, level="sequence", bos="add"), "of level sequence wants bos none"),
        (Perplexity(folder, sample=0), "sample wants at least 1, got 0"),
        (reference(seed=0, unit="bits"), "unit wants perplexity or bits_per_byte, got 'bits'"),
        (Perplexity(reference="train", vocabulary=256), "a vocabulary of at least 257, .*, got 256"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.check()
    for scorer in (reference(), Perplexity(folder, level="sequence")):
        with pytest.raises(ValueError, match=r"perplexity wants the state that fit\(corpus\) returned"):
            scorer.score(batch_of(TEXTS))
