"""What `labeler_speed` compares with, over the packaged model's own encoder: a reranker of sentences, and LLMLingua-2.

The reranker is the packaged encoder with its ranking head, as the checkpoint of a sequence classifier that the labeler
`cross_encoder` reads. LLMLingua-2 runs in its own package (requirements/peers.txt) with the encoder and the token head
as a token classifier: time is what that can say, and nothing of what the published models keep. By the name of the
folder alone the package knows how word pieces are joined, and it counts tokens with a table that it would download: the
copy in llama-index-core serves as well.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import BertConfig, BertForTokenClassification

from contextpruner.labelers.multilingual import MODEL
from contextpruner.models.joint_encoder import JointEncoder, load_joint
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.model_loading import quiet

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
# one of two names that the package knows, and what is kept where 70 % is removed
KNOWN_NAME, RATE = "xlm-roberta-large", 0.3


def save_reranker(folder: Path, model: Path = MODEL) -> Path:
    """The encoder of `model` and its ranking head, in `folder`."""
    with quiet():
        _loaded(model).ranker.save_pretrained(folder)  # type: ignore[operator]
    _copy_tokenizer(model, folder)
    return folder


def save_token_classifier(folder: Path, model: Path = MODEL) -> Path:
    """The encoder of `model`, a BERT, and its token head, in a folder within `folder` whose name LLMLingua-2 takes."""
    loaded = _loaded(model)
    encoder = loaded.ranker.get_submodule(loaded.encoder)
    said: dict[str, object] = encoder.config.to_dict()  # type: ignore[operator, union-attr]
    labels = {"id2label": {0: "drop", 1: "keep"}, "label2id": {"drop": 0, "keep": 1}}
    classifier = BertForTokenClassification(BertConfig(**{**said, **labels}))
    weights = {name: value for name, value in encoder.state_dict().items() if not name.startswith("pooler.")}
    classifier.bert.load_state_dict(weights)
    classifier.classifier.load_state_dict(loaded.head.state_dict())
    named = folder / KNOWN_NAME
    with quiet():
        classifier.save_pretrained(named)
    _copy_tokenizer(model, named)
    return named


def llmlingua2(folder: Path) -> Callable[[Sequence[str]], object]:
    """What compresses texts as the package's manual does; raises ImportError where it is not installed."""
    tables = importlib.util.find_spec("llama_index.core")
    if tables is not None and tables.submodule_search_locations is not None:
        copy = Path(next(iter(tables.submodule_search_locations))) / "_static" / "tiktoken_cache"
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(copy))
    package = importlib.import_module("llmlingua")
    with quiet():
        made = package.PromptCompressor(
            str(folder), device_map="cpu", use_llmlingua2=True, model_config={"trust_remote_code": False}
        )
    return lambda texts: made.compress_prompt([*texts], rate=RATE)


def _loaded(model: Path) -> JointEncoder:
    return load_joint(find_checkpoint(str(model)), "open_provence")[0]


def _copy_tokenizer(model: Path, folder: Path) -> None:
    for name in TOKENIZER:
        shutil.copy(model / name, folder / name)
