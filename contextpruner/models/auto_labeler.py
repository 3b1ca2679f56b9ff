"""The labeler that fits a model: found by the tensors and the config.json of its folder, never by its name.

    Provence, XProvence, OpenProvence, or exported      provence
    a token classifier with two labels                  llmlingua2
    a ColBERT projection                                late_interaction
    a sentence-transformers model that pools            bi_encoder
    a sequence classifier                               cross_encoder
    a causal language model                             token_nll

Without a name it is the packaged model, or `LEXICAL` where transformers is not installed, which a log line says.
"""

from __future__ import annotations

import functools
import importlib.util
import logging

from contextpruner.models.joint_encoder import layout_of
from contextpruner.models.onnx_encoder import is_exported
from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.module_folders import modules_of

# the best of what needs no model: benchmarks/context_recall.py has it beside lead and random
PACKAGED, LEXICAL = "multilingual", "bm25"

BY_ARCHITECTURE = {
    "ForTokenClassification": "llmlingua2",
    "ForSequenceClassification": "cross_encoder",
    "ForCausalLM": "token_nll",
    "LMHeadModel": "token_nll",
}


def labeler_for_model(name: str | None) -> tuple[str, str | None]:
    """The name of the labeler for the model at the path or hub id `name`, and that; raises ValueError if none fits."""
    return (default_labeler(), None) if name is None else (_labeler_of(find_checkpoint(name)), name)


def default_labeler() -> str:
    """The name of the labeler where nothing was asked for."""
    if importlib.util.find_spec("transformers") is not None:
        return PACKAGED
    _say_lexical()
    return LEXICAL


def _labeler_of(checkpoint: Checkpoint) -> str:
    kinds = [module.kind for module in modules_of(checkpoint.folder)]
    if any(kind.endswith(("Pooling", "StaticEmbedding")) for kind in kinds):
        return "bi_encoder"
    if any(kind.endswith("Dense") for kind in kinds):
        return "late_interaction"
    if is_exported(checkpoint) or layout_of(checkpoint) is not None:
        return "provence"
    if "linear.weight" in checkpoint.shapes:
        return "late_interaction"
    said = checkpoint.config.get("architectures")
    architectures = [str(item) for item in said] if isinstance(said, list) else []
    for suffix, labeler in BY_ARCHITECTURE.items():
        if any(architecture.endswith(suffix) for architecture in architectures):
            return labeler
    raise ValueError(
        f"{checkpoint.folder}: want a pruner, a token or sequence classifier, an embedder or a causal language model, "
        f"got {', '.join(architectures) or 'no architectures in config.json'}; "
        "ContextPruner(labeler) takes any labeler by its name"
    )


@functools.cache
def _say_lexical() -> None:
    """Once in a process."""
    logging.getLogger("contextpruner").warning(
        "transformers is not installed: labelling with %s, which needs no model; pip install transformers for the "
        "packaged one",
        LEXICAL,
    )
