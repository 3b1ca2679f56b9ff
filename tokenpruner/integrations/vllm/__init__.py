"""vLLM: the image tokens of a request are pruned before they enter the decoder, by any method that works there.

    vllm serve MODEL --hf-overrides '{"prunekit": "divprune:keep_ratio=0.1"}'       for a whole engine
    "mm_processor_kwargs": {"prunekit": "divprune:keep_ratio=0.2"}                  for a request to it

vLLM loads `register` through the entry-point group `vllm.general_plugins` in each of its processes. An engine that is
not started with the option runs as it would without us. "none" is all tokens: an engine that prunes on request alone.
"""

from __future__ import annotations

# the module that classes are looked up in, by where vLLM has them
MODELS = f"{__name__}.models"
# classes of vLLM that run any model of transformers
BACKENDS = ("TransformersMultiModalForCausalLM", "TransformersMultiModalMoEForCausalLM")


def register() -> None:
    """Put a subclass that prunes in place of each multimodal model that vLLM knows; nothing is imported of them."""
    import vllm
    from vllm import ModelRegistry
    from vllm.model_executor.models import registry

    for architecture in (*registry._MULTIMODAL_MODELS, *BACKENDS):
        known = ModelRegistry.models.get(architecture)
        place, name = getattr(known, "module_name", MODELS), getattr(known, "class_name", "")
        if place != MODELS:
            # vLLM remembers what a class can do by its name and the file that it is in, which is ours for all of them
            ModelRegistry.register_model(architecture, f"{MODELS}:{place}.{name}@{vllm.__version__}")
