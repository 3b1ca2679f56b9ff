"""Requests a second of vLLM with and without pruning, on a LLaVA of about 1B parameters with random weights.

    python -m benchmarks.served_requests                     1,000 requests, 576 tokens an image
    python -m benchmarks.served_requests --requests 8 --small

Time is what random weights can say: every request has one picture of its own and 32 words, and is answered with as many
tokens as are asked for. Engines run one after another, each warmed up by a tenth of the requests. Wants the environment
of `make vllm`, or a GPU with vLLM.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import record

METHODS = ("none", "stride:keep_ratio=0.1", "divprune:keep_ratio=0.1", "divprune:keep_ratio=0.25")
IMAGE, END, UNKNOWN = "<image>", "</s>", "<unk>"
N_WORDS, N_KNOWN, SIDE = 32, 32000, 336
# the decoder of Llama-3.2-1B and the tower of CLIP-L, and what only shows that it runs
TEXT = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_key_value_heads": 8}
VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
TINY_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass(frozen=True)
class Row:
    """One engine: how many requests it answered with `n_new` tokens each, and how long that took."""

    vllm: str
    method: str
    n_requests: int
    n_new: int
    prompt_tokens: int
    seconds: float
    requests_a_second: float


def save_model(folder: Path, is_small: bool) -> None:
    """A LLaVA-1.5 with the decoder of a 1B Llama, or a tiny one, and a processor whose words are numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    words = {UNKNOWN: 0, END: 1, IMAGE: 2} | {str(number): number for number in range(3, N_KNOWN)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=UNKNOWN, eos_token=END, additional_special_tokens=[IMAGE]
    )
    text, vision = (TINY_TEXT, TINY_VISION) if is_small else (TEXT, VISION)
    config = LlavaConfig(
        text_config=LlamaConfig(vocab_size=N_KNOWN, **text),
        vision_config=CLIPVisionConfig(image_size=SIDE, patch_size=14, **vision),
        image_token_index=2,
        image_seq_length=576,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder)
    _as_published(folder / "model.safetensors")
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(images, fast, 14, "default", image_token=IMAGE, num_additional_image_tokens=1)
    processor.save_pretrained(folder)


def _as_published(file: Path) -> None:
    """Weights by the names of published checkpoints, which vLLM reads."""
    from safetensors.torch import load_file, save_file

    old, new = "vision_tower.", "vision_tower.vision_model."
    named = {name if new in name else name.replace(old, new): value for name, value in load_file(file).items()}
    save_file(named, file, metadata={"format": "pt"})


def requests(n: int) -> Iterator[dict[str, object]]:
    """Prompts with a picture each; no two are alike, so that no cache helps."""
    from PIL import Image

    drawn = np.random.default_rng(0)
    for _ in range(n):
        picture = Image.fromarray(drawn.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
        words = " ".join(map(str, drawn.integers(3, N_KNOWN, N_WORDS)))
        yield {"prompt": f"{IMAGE} {words}", "multi_modal_data": {"image": picture}}


def measure(folder: Path, method: str, prompts: list[dict[str, object]], n_new: int, is_small: bool) -> Row:
    """One engine, all requests at once; a tiny model is not compiled."""
    import vllm
    from vllm import LLM, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory

    from tokenpruner.integrations.vllm.served_method import OPTION

    overrides = {OPTION: method}
    llm = LLM(str(folder), dtype="bfloat16", max_model_len=2048, hf_overrides=overrides, enforce_eager=is_small)
    sampling = SamplingParams(max_tokens=n_new, temperature=0, ignore_eos=True)
    n_warm = max(1, len(prompts) // 10)
    llm.generate(prompts[:n_warm], sampling, use_tqdm=False)
    start = time.perf_counter()
    told = llm.generate(prompts[n_warm:], sampling, use_tqdm=False)
    seconds = time.perf_counter() - start
    n_prompt = sum(len(out.prompt_token_ids) for out in told)
    del llm
    gc.collect()
    cleanup_dist_env_and_memory()
    return Row(vllm.__version__, method, len(told), n_new, n_prompt, round(seconds, 3), round(len(told) / seconds, 3))


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--new", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--small", action="store_true", help="a tiny model, to see that it runs; nothing is recorded")
    given = parser.parse_args()
    prompts = list(requests(given.requests))
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), given.small)
        rows = [measure(Path(folder), method, prompts, given.new, given.small) for method in METHODS]
    for row in rows:
        print(f"{row.method:<28}{row.prompt_tokens:>10,} prompt tokens{row.requests_a_second:>10.2f} requests a second")
    if not given.small:
        print(record("served_requests", rows))


if __name__ == "__main__":
    main()
