"""A checkpoint of the Provence family, or its ONNX export, ready to run: model, tokenizer, and what its layout says.

The layout gives the rule that its checkpoints were published with (`FAMILIES`); a threshold and a window that are not
given are those of the checkpoint's config.json, else the family's own threshold and 512 tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from contextpruner.models.joint_encoder import JointEncoder, Layout, layout_of, load_joint
from contextpruner.models.loading import Precision, max_tokens_of, to_device, tokenizer_of
from contextpruner.models.onnx_encoder import OnnxEncoder, is_exported, load_onnx
from contextpruner.models.packing import SpecialTokens, paired, single
from prunekernels.extras import require
from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.json_files import Fields

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pooling = Literal["decision_mean", "probability_mean"]
# whose way of tokenising each unit alone
Published = Literal["provence", "open_provence"]


class Family(NamedTuple):
    """What a layout's checkpoints were published with."""

    threshold: float
    pooling: Pooling
    rank: Literal["logit", "sigmoid"]
    packing: Published


FAMILIES: dict[Layout, Family] = {
    "provence": Family(0.1, "decision_mean", "logit", "provence"),
    "xprovence": Family(0.3, "decision_mean", "logit", "provence"),
    "open_provence": Family(0.1, "probability_mean", "sigmoid", "open_provence"),
}

# the first is how the published files spell it
THRESHOLDS = ("default_threadshold", "default_threshold")


class ProvenceCheckpoint(NamedTuple):
    """A checkpoint, ready to run."""

    folder: Path
    model: JointEncoder | OnnxEncoder
    device: torch.device
    layout: Layout
    tokenizer: PreTrainedTokenizerBase
    template: SpecialTokens
    threshold: float
    window: int
    has_types: bool
    precision: Precision

    @property
    def family(self) -> Family:
        return FAMILIES[self.layout]


def load_provence(
    name: str,
    precision: Precision = "float32",
    device: str | None = None,
    threshold: float | None = None,
    max_length: int | None = None,
) -> ProvenceCheckpoint:
    """The checkpoint at the path or hub id `name`; raises ValueError where it has none of the layouts."""
    checkpoint = find_checkpoint(name)
    load = _exported if is_exported(checkpoint) else _published
    return load(checkpoint, precision, device, threshold, max_length)


def _published(
    checkpoint: Checkpoint, precision: Precision, device: str | None, threshold: float | None, max_length: int | None
) -> ProvenceCheckpoint:
    layout = layout_of(checkpoint)
    if layout is None:
        raise ValueError(
            f"{checkpoint.folder}: want the tensors of a Provence, XProvence or OpenProvence checkpoint "
            f"(token_classifier or pruning_head.classifier), got {', '.join(list(checkpoint.shapes)[-3:])}"
        )
    model, config = load_joint(checkpoint, layout)
    tokenizer = tokenizer_of(checkpoint, config)
    to_device(model, precision, device)
    return ProvenceCheckpoint(
        folder=checkpoint.folder,
        model=model,
        device=next(model.parameters()).device,
        layout=layout,
        tokenizer=tokenizer,
        template=_template(layout, tokenizer),
        threshold=_own_threshold(checkpoint, layout) if threshold is None else threshold,
        window=max_tokens_of(config, max_length or _own_window(checkpoint)),
        # Provence passes none; a published OpenProvence passes its tokenizer's
        has_types=layout == "open_provence" and getattr(config, "type_vocab_size", 0) > 1,
        precision=precision,
    )


def _exported(
    checkpoint: Checkpoint, precision: Precision, device: str | None, threshold: float | None, max_length: int | None
) -> ProvenceCheckpoint:
    layout = checkpoint.config.get("layout")
    if layout not in FAMILIES or precision != "float32" or device not in (None, "cpu"):
        raise ValueError(f"{checkpoint.folder}: an exported model wants a known layout, float32 and the CPU")
    tokenizer = tokenizer_of(checkpoint, require("transformers", "context").PretrainedConfig())
    longest = Fields(checkpoint.config, f"{checkpoint.folder / 'config.json'}").integer("max_length", minimum=1)
    return ProvenceCheckpoint(
        folder=checkpoint.folder,
        model=load_onnx(checkpoint),
        device=torch.device("cpu"),
        layout=layout,
        tokenizer=tokenizer,
        template=_template(layout, tokenizer),
        threshold=_own_threshold(checkpoint, layout) if threshold is None else threshold,
        window=min(longest, max_length or longest),
        has_types=checkpoint.config.get("token_types") is True,
        precision=precision,
    )


def _own_threshold(checkpoint: Checkpoint, layout: Layout) -> float:
    said = [checkpoint.config.get(name) for name in THRESHOLDS]
    threshold = next((value for value in said if value is not None), FAMILIES[layout].threshold)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise ValueError(f"{checkpoint.folder}: config.json wants a threshold in [0, 1], got {threshold!a:.80}")
    return float(threshold)


def _own_window(checkpoint: Checkpoint) -> int:
    said = checkpoint.config.get("max_length")
    return said if isinstance(said, int) and said >= 32 else 512


def _template(layout: Layout, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    return paired(tokenizer) if layout == "open_provence" else single(tokenizer)
