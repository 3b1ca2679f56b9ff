"""Forwards of the published pruners, written from their descriptions on transformers' bare encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertModel, DebertaV2Model, ModernBertModel, XLMRobertaModel

from tests.contextpruner import tiny_checkpoints as tiny

Tensors = dict[str, torch.Tensor]
Pair = tuple[np.ndarray, float]


def affine(x: torch.Tensor, tensors: Tensors, name: str) -> torch.Tensor:
    return x @ tensors[f"{name}.weight"].T + tensors.get(f"{name}.bias", torch.zeros(()))


def encoder(kind: type, config: object, tensors: Tensors, prefix: str) -> torch.nn.Module:
    model = kind(config).eval()
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    model.load_state_dict(own, strict=False)
    return model


def deberta_forward(folder: Path, ids: list[int]) -> Pair:
    tensors = load_file(folder / "model.safetensors")
    model = encoder(DebertaV2Model, tiny.deberta_config(vocabulary(folder)), tensors, "deberta.")
    hidden = model(torch.tensor([ids])).last_hidden_state[0]
    pooled = F.gelu(affine(hidden[0], tensors, "pooler.dense"))
    return keep(affine(hidden, tensors, "token_classifier")), float(affine(pooled, tensors, "classifier")[0])


def xprovence_forward(folder: Path, ids: list[int]) -> Pair:
    tensors = load_file(folder / "model.safetensors")
    model = encoder(XLMRobertaModel, tiny.xlmr_config(vocabulary(folder)), tensors, "roberta.")
    hidden = model(torch.tensor([ids])).last_hidden_state[0]
    pooled = affine(hidden[0], tensors, "roberta.pooler.dense").tanh()
    return keep(affine(hidden, tensors, "token_classifier")), float(affine(pooled, tensors, "classifier")[0])


def modernbert_forward(folder: Path, ids: list[int], after_norm: bool = False) -> Pair:
    tensors = {name.removeprefix("ranking_model."): v for name, v in load_file(folder / "model.safetensors").items()}
    model = encoder(ModernBertModel, tiny.modernbert_config(vocabulary(folder)), tensors, "model.")
    seen = []
    model.layers[-1].register_forward_hook(lambda *passed: seen.append(passed[2]))
    after = model(torch.tensor([ids])).last_hidden_state[0]
    before = (seen[0] if isinstance(seen[0], torch.Tensor) else seen[0][0])[0]
    headed = F.layer_norm(F.gelu(affine(after[0], tensors, "head.dense")), (16,), tensors["head.norm.weight"])
    rank = affine(headed, tensors, "classifier")[0].sigmoid()
    return keep(affine(after if after_norm else before, tensors, "pruning_head.classifier")), float(rank)


def open_xlmr_forward(folder: Path, ids: list[int]) -> Pair:
    tensors = {name.removeprefix("ranking_model."): v for name, v in load_file(folder / "model.safetensors").items()}
    model = encoder(XLMRobertaModel, tiny.xlmr_config(vocabulary(folder)), tensors, "roberta.")
    hidden = model(torch.tensor([ids])).last_hidden_state[0]
    rank = affine(affine(hidden[0], tensors, "classifier.dense").tanh(), tensors, "classifier.out_proj")[0].sigmoid()
    return keep(affine(hidden, tensors, "pruning_head.classifier")), float(rank)


def open_bert_forward(folder: Path, ids: list[int]) -> Pair:
    tensors = {name.removeprefix("ranking_model."): v for name, v in load_file(folder / "model.safetensors").items()}
    model = encoder(BertModel, tiny.bert_config(vocabulary(folder), 1), tensors, "bert.")
    # the tokenizer's own pairs tell the second text by its type
    separator = ids.index(3)
    types = torch.tensor([[0] * (separator + 1) + [1] * (len(ids) - separator - 1)])
    hidden = model(torch.tensor([ids]), token_type_ids=types).last_hidden_state[0]
    pooled = affine(hidden[0], tensors, "bert.pooler.dense").tanh()
    return keep(affine(hidden, tensors, "pruning_head.classifier")), float(
        affine(pooled, tensors, "classifier")[0].sigmoid()
    )


FORWARDS: dict[str, Callable[[Path, list[int]], Pair]] = {
    "provence": deberta_forward,
    "xprovence": xprovence_forward,
    "open_provence": modernbert_forward,
    "open_provence_legacy": modernbert_forward,
    "open_provence_xlmr": open_xlmr_forward,
    "open_provence_bert": open_bert_forward,
}
# before the question, between it and the text, after the text
SPECIALS = {"open_provence_xlmr": ([0], [2, 2], [2]), "open_provence_bert": ([2], [3], [3])}
BYTES = ([1], [2], [2])
SPECIALS |= {"open_provence": BYTES, "open_provence_legacy": BYTES}


def vocabulary(folder: Path) -> int:
    return len(AutoTokenizer.from_pretrained(folder))


def keep(logits: torch.Tensor) -> np.ndarray:
    return logits.softmax(-1)[:, 1].detach().numpy()
