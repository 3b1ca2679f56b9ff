"""What an engine of vLLM may not do beside pruning images, said when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.config import VllmConfig


def check_engine(config: VllmConfig) -> None:
    """Raise ValueError, with the option to change, for an engine that would give other tokens than were asked for."""
    model, parallel = config.model_config, config.parallel_config
    if model.get_multimodal_config().is_multimodal_pruning_enabled():
        raise ValueError("vLLM's own video_pruning_rate and prunekit cannot both be on: want one of them")
    if config.compilation_config.cudagraph_mm_encoder:
        raise ValueError("cudagraph_mm_encoder encodes past prunekit: want it off")
    if getattr(model, "uses_xdrope_dim", 0):
        raise ValueError(f"{model.architecture} has positions of more than three parts, which prunekit cannot prune")
    if not model.uses_mrope:
        return
    if config.speculative_config is not None:
        raise ValueError("speculative decoding asks for positions ahead, which M-RoPE and prunekit have not: want none")
    if parallel.pipeline_parallel_size > 1:
        raise ValueError("only the first stage of a pipeline learns the positions of pruned images: want one stage")
    if not _is_first_runner(config):
        raise ValueError("vLLM's second model runner was not tried with M-RoPE: set VLLM_USE_V2_MODEL_RUNNER=0")


def _is_first_runner(config: VllmConfig) -> bool:
    from vllm.platforms import current_platform

    return current_platform.is_cpu() or not config.use_v2_model_runner
