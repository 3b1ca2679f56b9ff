"""Perplexity: against a plain loop over one document at a time in float64, for heads that are plain and not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner.scorers._windows import Window, batches_of, windows_of
from datapruner.scorers.perplexity import Perplexity
from tests.datapruner.scorers.plain_perplexity import TEXTS, batch_of, plain
from tests.datapruner.tiny_models import VOCABULARY

KINDS = {"llama": True, "gpt2": True, "phi": True, "gemma2": False, "granite": False, "cohere": False}


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
