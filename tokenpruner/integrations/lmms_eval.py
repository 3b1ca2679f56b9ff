"""lmms-eval: its own model classes for transformers models, told of a method.

    lmms-eval --model llava_hf_pruned --model_args pretrained=llava-hf/llava-1.5-7b-hf,method=divprune:keep_ratio=0.1

Each model of `NAMES` has a sibling with "_pruned" behind its name, found through the entry-point group
`lmms_eval.models`. A text form with commas stands in quotes: method='divprune:n_keep=64,positions=compact'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenpruner.api import prune
from tokenpruner.base.token_method import method_from_text
from tokenpruner.integrations._evaluation import pruned_generate

if TYPE_CHECKING:
    from lmms_eval.api.instance import Instance
    from lmms_eval.models.registry_v2 import ModelManifest


# the models of lmms-eval that run a vision-language model of transformers and call its generate()
NAMES = ("gemma3", "huggingface", "internvl_hf", "llava_hf", "mistral3_vl", "qwen2_5_vl", "qwen2_vl", "qwen3_vl")
SUFFIX = "_pruned"
INSTALL = "this part is for lmms-eval: pip install lmms-eval"
Argument = str | int | float | bool | None


def manifests() -> list[ModelManifest]:
    """What the entry point of `lmms_eval.models` hands over."""
    chat, simple, manifest = _lmms_eval()
    return [
        manifest(
            model_id=name + SUFFIX,
            simple_class_path=f"{__name__}.simple_{name}" if name in simple else None,
            chat_class_path=f"{__name__}.chat_{name}" if name in chat else None,
        )
        for name in NAMES
        if name in simple or name in chat
    ]


def pruned(base: type) -> type:
    """A subclass of one of lmms-eval's model classes that takes `method` and prunes what it is asked."""

    class Pruned(base):
        """The model of the harness, its visual tokens pruned."""

        def __init__(self, method: str = "divprune", **model_args: Argument) -> None:
            self.pruning = method_from_text(_unquoted(method))
            super().__init__(**model_args)
            # what does not fit the model is said before the first task
            with prune(self.model, self.pruning):
                pass

        def generate_until(self, requests: Sequence[Instance]) -> list[object]:
            """The harness's answers."""
            with pruned_generate(self.model, self.pruning) as self.totals:
                return super().generate_until(requests)

        def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[object]:
            """The harness's answers, turn by turn."""
            with pruned_generate(self.model, self.pruning) as self.totals:
                return super().generate_until_multi_round(requests)

        def loglikelihood(self, requests: Sequence[Instance]) -> list[object]:
            """Refused: a harness compares the logits with tokens that are no longer there."""
            raise NotImplementedError("pruned models answer with generate(): want a generation task")

    Pruned.__name__ = Pruned.__qualname__ = f"Pruned{base.__name__}"
    return Pruned


def __getattr__(name: str) -> type:
    """`chat_llava_hf` and `simple_llava_hf`, and so on for each of `NAMES`: the classes of the manifests."""
    kind, _, model = name.partition("_")
    if kind not in ("chat", "simple") or model not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _lmms_eval()
    from lmms_eval.models import MODEL_REGISTRY_V2

    return pruned(MODEL_REGISTRY_V2.get_model_class(model, force_simple=kind == "simple"))


def _unquoted(method: str) -> str:
    """`method` without the quotes around the whole of it; those of a value stay."""
    is_quoted = len(method) > 1 and method[0] in "'\"" and method[-1] == method[0]
    return method[1:-1] if is_quoted else method


def _lmms_eval() -> tuple[dict[str, str], dict[str, str], type[ModelManifest]]:
    """The harness's models by name, chat and simple ones, and its class of manifests."""
    try:
        from lmms_eval.models import AVAILABLE_CHAT_TEMPLATE_MODELS, AVAILABLE_SIMPLE_MODELS
        from lmms_eval.models.registry_v2 import ModelManifest
    except ImportError as error:
        raise ImportError(INSTALL) from error
    return AVAILABLE_CHAT_TEMPLATE_MODELS, AVAILABLE_SIMPLE_MODELS, ModelManifest
