"""What an engine of vLLM may not do beside pruning images, said when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.config import VllmConfig


def check_engine(config: VllmConfig) -> None:
    """Raise ValueError, with the option to change, for an engine that would give other tokens than were asked for."""
    model = config.model_config
    if model.get_multimodal_config().is_multimodal_pruning_enabled():
        raise ValueError("vLLM's own video_pruning_rate and prunekit cannot both be on: want one of them")
    if config.compilation_config.cudagraph_mm_encoder:
        raise ValueError("cudagraph_mm_encoder encodes past prunekit: want it off")
    if config.lora_config is not None and config.lora_config.enable_tower_connector_lora:
        raise ValueError("adapters of the vision tower count tokens by the shortened prompt: want none with prunekit")
    if model.uses_mrope:
        _check_positions(config)


def _check_positions(config: VllmConfig) -> None:
    """Raise ValueError where positions of three parts are not put right in time; see `models`."""
    from vllm.compilation.breakable_cudagraph import is_breakable_cudagraph_enabled
    from vllm.config import CUDAGraphMode
    from vllm.platforms import current_platform

    if config.model_config.mrope_num_dims != 3:
        raise ValueError(f"{config.model_config.architecture} has positions of other than three parts: not supported")
    graphs, parallel = config.compilation_config.cudagraph_mode, config.parallel_config
    why = "the positions of images that M-RoPE models have pruned"
    if config.speculative_config is not None:
        raise ValueError(f"speculative decoding asks too early for {why}: want none")
    if parallel.pipeline_parallel_size > 1:
        raise ValueError(f"only the first stage of a pipeline learns {why}: want one stage")
    if parallel.use_ubatching:
        raise ValueError(f"micro-batches part {why} from their tokens: want enable_dbo off")
    if is_breakable_cudagraph_enabled() or (graphs is not None and graphs.mixed_mode() == CUDAGraphMode.FULL):
        raise ValueError(f"a CUDA graph of a whole prefill holds {why} fast: want cudagraph_mode FULL_AND_PIECEWISE")
    if config.use_v2_model_runner and not current_platform.is_cpu():
        raise ValueError(f"{why} were not tried with vLLM's second model runner: set VLLM_USE_V2_MODEL_RUNNER=0")
