"""from_pretrained: the labeler found by what a folder holds, its own threshold, and one line about the default."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from contextpruner import ContextPruner
from contextpruner.labelers.bm25 import Bm25
from contextpruner.labelers.multilingual import Multilingual
from contextpruner.labelers.provence import Provence
from contextpruner.models import auto_labeler
from tests.contextpruner import tiny_checkpoints as tiny
from tests.contextpruner.tiny_encoder import save_tiny_encoder

TEXTS = ["The dome was designed by Brunelleschi. It is tall. Bread is baked.", "Nothing."]


def colbert(folder: Path) -> Path:
    tiny.cross_encoder(folder)
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "linear.weight": torch.ones(4, 16)}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}))
    return folder


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "provence": ("provence", tiny.provence),
    "xprovence": ("provence", tiny.xprovence),
    "open_provence": ("provence", tiny.open_provence),
    "legacy": ("provence", lambda folder: tiny.open_provence(folder, "xlm-roberta", legacy=True)),
    "llmlingua2": ("llmlingua2", tiny.llmlingua2),
    "llmlingua2_xlmr": ("llmlingua2", lambda folder: tiny.llmlingua2(folder, "xlm-roberta")),
    "cross_encoder": ("cross_encoder", lambda folder: tiny.cross_encoder(folder, 2)),
    "colbert": ("late_interaction", colbert),
    "bi_encoder": ("bi_encoder", save_tiny_encoder),
    "causal_lm": ("token_nll", tiny.causal_lm),
}


@pytest.mark.parametrize("written", WRITERS)
def test_the_labeler_is_found_by_what_the_folder_holds(written: str, tmp_path: Path) -> None:
    labeler, write = WRITERS[written]
    folder = write(tmp_path / "no-telling-name")
    pruner = ContextPruner.from_pretrained(str(folder))
    assert type(pruner.labeler).__module__ == f"contextpruner.labelers.{labeler}"
    result = pruner.prune("who?", TEXTS, top_k=1)
    assert result.labeler == f"{labeler}:model={folder}"
    if labeler == "provence":
        assert pruner.prune("who?", TEXTS).policy.threshold == Provence(str(folder)).default_threshold
    else:
        with pytest.raises(ValueError, match=f"want one of .*: {labeler}:model=.* has no threshold of its own"):
            pruner.prune("who?", TEXTS)


def test_without_a_name_it_is_the_packaged_model(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="contextpruner"):
        pruner = ContextPruner.from_pretrained()
    assert pruner.labeler == ContextPruner().labeler == Multilingual()
    assert not caplog.records
    result = pruner.prune("Who designed the dome?", TEXTS)
    assert result.labeler == "multilingual"
    assert result.policy.threshold == Multilingual().default_threshold
    assert result.documents[0].text.startswith("The dome")


def test_without_transformers_it_is_the_lexical_labeler_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto_labeler._say_lexical.cache_clear()
    # as where it is not installed
    monkeypatch.setitem(sys.modules, "transformers", None)
    with caplog.at_level(logging.WARNING, logger="contextpruner"):
        assert ContextPruner.from_pretrained().labeler == ContextPruner().labeler == Bm25()
    (record,) = caplog.records
    assert "transformers is not installed: labelling with bm25" in record.getMessage()


def test_what_is_passed_on_is_used() -> None:
    pruner = ContextPruner.from_pretrained(count_tokens=len)
    assert pruner.prune("dome", TEXTS, top_k=1).n_tokens_before == sum(map(len, TEXTS))


def test_what_fits_no_labeler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.cross_encoder(tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(ValueError, match="got BertForMaskedLM"):
        ContextPruner.from_pretrained(str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="want the folder or hub id of a checkpoint, got 'no/such-model-here'"):
        ContextPruner.from_pretrained("no/such-model-here")


def test_a_score_of_bm25_says_how_much_of_the_question_is_met() -> None:
    # a unit that is the question a thousand times over comes near all that can be covered, and never beyond
    unit = "Alpha beta gamma " * 1000
    whole = ContextPruner("bm25").prune("alpha beta gamma", [unit, "Delta."], top_k=1).documents[0].score
    assert 0.99 / 1.05 < whole <= 1 / 1.05
    half = ContextPruner("bm25").prune("alpha nowhere", [unit], top_k=1).documents[0].score
    assert 0 < half < 0.9 * whole
