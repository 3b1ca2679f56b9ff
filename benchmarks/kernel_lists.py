"""Which cases are measured on a CPU, and which on a GPU, the most valuable first; and one small one of each kind."""

from __future__ import annotations

import torch

from benchmarks.kernel_cases import (
    Case,
    aimed,
    averaged,
    chosen,
    determinantal,
    farthest,
    farthest_ragged,
    k_center,
    merged,
    ranked,
)
from benchmarks.scoring_cases import (
    attention,
    attention_padded,
    attention_with_lse,
    clustered,
    errors,
    grouped,
    head,
    planted,
)


def cpu_cases() -> list[Case]:
    """The jobs that a CPU does in a few minutes."""
    return [
        aimed(farthest("LLaVA-1.5", 576, 57, 4096), 1),
        aimed(farthest("LLaVA-1.5", 576, 57, 4096, torch.bfloat16), 1.5),
        aimed(farthest("DeiT", 576, 57, 384), 1.5),
        farthest("LLaVA-NeXT", 2880, 283, 4096),
        aimed(farthest("sentences", 2880, 283, 384), 1.5),
        farthest_ragged("CLIP", (576, 432, 288, 144), 0.1, 1024),
        k_center(20_000, 1000, 384),
        aimed(determinantal("LLaVA-1.5", 576, 64, 1024), 1.3),
        aimed(ranked(8, 12, 197, 50), 4),
        aimed(ranked(1, 12, 197, 50), 1),
        merged(8, 197, 768, 16),
        aimed(merged(1, 197, 768, 16), 1),
        attention("Llama", (1, 8, 8, 2048, 64), causal=True),
        attention("Qwen2.5-VL vision", (1, 16, 16, 1296, 80), causal=False),
        aimed(attention("DeiT", (8, 12, 12, 197, 64), causal=False), 1),
        attention_padded("Qwen2.5-VL", (4, 8, 2, 512, 64)),
        head("SmolLM2", 2048, 49_152, 576),
        errors(8192, 1000),
        aimed(chosen(1_000_000, 100_000), 8),
        aimed(averaged(1_000_000, 10_000), 1),
        grouped(50_000, 256, 500),
        *planted(50_000, 256, 500),
    ]


def gpu_cases() -> list[Case]:
    """What a reader of the tables asks first comes first."""
    return [
        aimed(head("Llama 3", 4096, 128_256, 4096), over_floor=1 / 0.6),
        aimed(farthest("LLaVA-1.5", 576, 56, 4096), 10, 0.3),
        aimed(attention_with_lse("Llama 3", (1, 32, 8, 8192, 128)), 1 / 0.7),
        aimed(ranked(64, 12, 197, 50), 5),
        aimed(farthest("LLaVA-NeXT", 2880, 282, 4096), milliseconds=1.5),
        ranked(1, 12, 197, 50),
        merged(64, 197, 768, 16),
        merged(1, 197, 768, 16),
        attention("Qwen2.5-VL vision", (1, 16, 16, 5184, 80), causal=False),
        attention("Llama 3", (1, 32, 8, 8192, 128), causal=True),
        # what perplexity calls on a float32 model
        head("SmolLM2 (perplexity)", 8192, 49_152, 576, torch.float32),
        head("SmolLM2", 8192, 49_152, 576),
        determinantal("LLaVA-1.5", 576, 64, 1024),
        determinantal("LLaVA-NeXT", 2880, 283, 1024),
        head("Qwen2.5", 4096, 152_064, 3584),
        head("Llama 2", 4096, 32_000, 4096),
        attention_padded("Qwen2.5-VL", (8, 28, 4, 1408, 128)),
        farthest_ragged("LLaVA-NeXT", (2880, 2304, 1728, 1152, 576, 2880, 1728, 576), 0.098, 4096),
        farthest("video", 10_000, 1000, 3584),
        attention("DeiT", (64, 12, 12, 197, 64), causal=False),
        attention("DeiT", (1, 12, 12, 197, 64), causal=False),
        clustered(50_000, 256, 500),
        k_center(20_000, 1000, 384),
        errors(65_536, 1000),
        grouped(50_000, 256, 500),
        chosen(1_000_000, 100_000),
        averaged(1_000_000, 10_000),
    ]


def small_cases() -> list[Case]:
    """Every kind of case in a size that takes no time: for tests, and for trying the way to a GPU's numbers."""
    return [
        aimed(farthest("tiny", 70, 9, 16), 1e-9),
        farthest("tiny", 70, 9, 16, torch.bfloat16),
        farthest_ragged("tiny", (40, 70, 33), 0.2, 16),
        k_center(90, 9, 5),
        determinantal("tiny", 40, 11, 24),
        ranked(2, 3, 17, 5),
        merged(3, 33, 12, 7),
        merged(1, 33, 12, 7),
        attention("tiny", (2, 6, 2, 33, 8), causal=True),
        attention("tiny", (2, 6, 2, 33, 8), causal=False),
        attention_padded("tiny", (3, 6, 2, 33, 8)),
        attention_with_lse("tiny", (2, 6, 2, 33, 8)),
        head("tiny", 19, 301, 8),
        errors(17, 5),
        clustered(300, 8, 6),
        chosen(500, 60),
        averaged(500, 20),
        grouped(200, 8, 20),
    ]
