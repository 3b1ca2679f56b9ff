"""A joint encoder: one pass over question and text gives every token a probability to keep, and the pair a rank.

    keep[t] = softmax((W h[t] + b) / temperature)[1]        rank = first logit of the sequence classifier

The temperature is 1 where config.json gives no other, and `matched_token_types` in it tells the encoder which tokens
question and text share (`matched_types`). h is what the token head was trained on: the encoder's output,
but on encoders that end in a norm of their own (ModernBERT) the last layer's output before that norm.
Three published layouts are read, each by its tensors:

    provence        deberta.*, pooler.dense, classifier, token_classifier
    xprovence       roberta.* with its pooler, a plain classifier, token_classifier
    open_provence   ranking_model.* (older files: the same without that prefix), pruning_head.classifier
"""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from contextpruner.models.matched_types import TYPES, matched_types
from contextpruner.models.quantized_tensors import dequantized
from prunekernels.extras import require
from prunekernels.io.checkpoint import Checkpoint
from prunekernels.io.json_files import Fields, Json
from prunekernels.io.model_loading import check_complete, check_fit, check_state, loading_errors, quiet

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Layout = Literal["provence", "xprovence", "open_provence"]

# what a config.json says about the file, or about how it was run where it was written, and not about the encoder
ABOUT_THE_FILE = ("model_type", "auto_map", "architectures", "_name_or_path", "transformers_version", "dtype")
# an implementation may be code of the hub
IMPLEMENTATIONS = ("_attn_implementation", "attn_implementation", "_experts_implementation", "experts_implementation")
# what our own checkpoints say of their token types
MATCHED = "matched_token_types"
ABOUT_THE_RUN = ("torch_dtype", *IMPLEMENTATIONS, "return_dict", "torchscript")


class JointEncoder(nn.Module):
    """A sequence classifier and a token head that reads the classifier's encoder, its submodule named `encoder`."""

    def __init__(
        self, ranker: nn.Module, encoder: str, head: nn.Linear, temperature: float = 1.0, marks_matches: bool = False
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.marks_matches = marks_matches
        self.ranker = ranker
        self.encoder = encoder
        self.head = head
        self.before_final_norm = hasattr(ranker.get_submodule(encoder), "final_norm")
        # a hook hears every pass of the encoder, also another thread's
        self._lock = threading.Lock()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`keep` [B, T] in [0, 1] and `rank` [B], a raw logit; both float32."""
        tokens, rank = self.logits(input_ids, attention_mask, token_type_ids)
        return (tokens / self.temperature).softmax(-1)[..., 1], rank

    def logits(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The token head's logits [B, T, 2] and `rank` [B], both float32: what training is done on."""
        if token_type_ids is not None and self.marks_matches:
            token_type_ids = matched_types(input_ids, attention_mask, token_type_ids)
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        seen: list[torch.Tensor] = []
        with self._lock:
            handle = self._listen(seen)
            try:
                logits = self.ranker(input_ids=input_ids, attention_mask=attention_mask, **types).logits
            finally:
                handle.remove()
        return self.head(seen[-1]).float(), logits[:, 0].float()

    def _listen(self, seen: list[torch.Tensor]) -> torch.utils.hooks.RemovableHandle:
        encoder = self.ranker.get_submodule(self.encoder)
        if self.before_final_norm:
            return encoder.get_submodule("final_norm").register_forward_pre_hook(
                lambda _, inputs: seen.append(inputs[0])
            )
        return encoder.register_forward_hook(lambda *passed: seen.append(passed[2].last_hidden_state))


class PooledClassifier(nn.Module):
    """XProvence's ranker: a plain linear layer on the encoder's pooler."""

    def __init__(self, encoder: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.roberta = encoder
        self.classifier = classifier

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        """`.logits` [B, labels]."""
        pooled = self.roberta(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return SimpleNamespace(logits=self.classifier(pooled))


def layout_of(checkpoint: Checkpoint) -> Layout | None:
    """Which of the three layouts `checkpoint` has, by the names of its tensors; None where it has none."""
    names = checkpoint.shapes
    if "pruning_head.classifier.weight" in names:
        return "open_provence"
    if "token_classifier.weight" in names:
        if any(name.startswith("deberta.") for name in names):
            return "provence"
        if any(name.startswith("roberta.") for name in names):
            return "xprovence"
    return None


def load_joint(checkpoint: Checkpoint, layout: Layout) -> tuple[JointEncoder, PretrainedConfig]:
    """The model of `checkpoint`, float32 also where its weights lie in 8 or 4 bits, and its encoder's configuration."""
    loader = {"provence": _provence, "xprovence": _xprovence, "open_provence": _open_provence}[layout]
    tensors = dequantized(checkpoint.tensors(), str(checkpoint.folder))
    with quiet():
        model, config = loader(checkpoint, tensors)
    said = Fields(checkpoint.config, f"{checkpoint.folder / 'config.json'}")
    if said.has("temperature"):
        model.temperature = said.number("temperature", 0.01, 100)
    if said.has(MATCHED) and said.flag(MATCHED):
        if getattr(config, "type_vocab_size", 0) != TYPES:
            raise ValueError(f"{checkpoint.folder}: {MATCHED} wants an encoder with {TYPES} token types")
        model.marks_matches = True
    return model.eval(), config


def _provence(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> tuple[JointEncoder, PretrainedConfig]:
    transformers = require("transformers", "context")
    config = _config(checkpoint, "deberta-v2", checkpoint.config)
    head = _linear(checkpoint, tensors, "token_classifier", config.hidden_size)
    ranker = _filled(checkpoint, transformers.DebertaV2ForSequenceClassification, config, tensors)
    return JointEncoder(ranker, "deberta", head), config


def _xprovence(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> tuple[JointEncoder, PretrainedConfig]:
    transformers = require("transformers", "context")
    config = _config(checkpoint, "xlm-roberta", checkpoint.config)
    head = _linear(checkpoint, tensors, "token_classifier", config.hidden_size)
    classifier = _linear(checkpoint, tensors, "classifier", config.hidden_size)
    inner = {name.removeprefix("roberta."): tensor for name, tensor in tensors.items() if name.startswith("roberta.")}
    encoder = _filled(checkpoint, transformers.XLMRobertaModel, config, inner)
    return JointEncoder(PooledClassifier(encoder, classifier), "roberta", head), config


def _open_provence(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> tuple[JointEncoder, PretrainedConfig]:
    transformers = require("transformers", "context")
    base = checkpoint.config.get("base_model_config")
    model_type = base.get("model_type") if isinstance(base, dict) else None
    if not isinstance(base, dict) or not isinstance(model_type, str):
        raise ValueError(f"{checkpoint.folder}: config.json wants a base_model_config with a model_type")
    labels = {} if "id2label" in base else {"num_labels": checkpoint.config.get("num_labels", 1)}
    config = _config(checkpoint, model_type, {**labels, **base})
    head = _linear(checkpoint, tensors, "pruning_head.classifier", config.hidden_size)
    inner = {name.removeprefix("ranking_model."): tensor for name, tensor in tensors.items()}
    kinds = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(config) not in kinds:
        raise ValueError(f"{checkpoint.folder}: want an encoder that classifies, got {model_type!a:.80}")
    kind = kinds[type(config)]
    ranker = _filled(checkpoint, kind, config, inner)
    return JointEncoder(ranker, kind.base_model_prefix, head), config


def _config(checkpoint: Checkpoint, model_type: str, said: dict[str, Json]) -> PretrainedConfig:
    settings = {name: value for name, value in _without_run(said).items() if name not in ABOUT_THE_FILE}
    # labels are counted by their names where a file has both
    if "id2label" in settings:
        settings.pop("num_labels", None)
    with loading_errors(checkpoint.folder, f"settings of {model_type!a:.80}"):
        return require("transformers", "context").AutoConfig.for_model(model_type, **settings)


def _without_run(said: dict[str, Json]) -> dict[str, Json]:
    """`said`, and the settings within it, without how it was run."""
    kept = {name: value for name, value in said.items() if name not in ABOUT_THE_RUN}
    return {name: _without_run(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _filled(
    checkpoint: Checkpoint, kind: type[nn.Module], config: PretrainedConfig, tensors: dict[str, torch.Tensor]
) -> nn.Module:
    """A model of `kind` with `tensors`; transformers renames what it has renamed since."""
    with loading_errors(checkpoint.folder, f"settings of {kind.__name__}"):
        model, report = kind.from_pretrained(  # type: ignore[attr-defined]
            None,
            config=config,
            state_dict=tensors,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    check_fit(checkpoint.folder, model, report)
    return model


def _linear(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor], name: str, width: int) -> nn.Linear:
    """The linear layer `name` on vectors of `width`, taken out of `tensors`."""
    parts = {part: f"{name}.{part}" for part in ("weight", "bias")}
    check_complete(checkpoint.folder, {*parts.values()} - {*tensors})
    own = {part: tensors.pop(full) for part, full in parts.items()}
    layer = nn.Linear(width, len(own["bias"]))
    check_state(f"{checkpoint.folder}: {name}", layer, own)
    return layer
