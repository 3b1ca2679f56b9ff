"""Requests a second of vLLM with and without pruning, on a LLaVA of 1.4B parameters with random weights; recorded.

    python -m benchmarks.served_requests              two CPU cores: a quarter of an hour; nothing else should run there
    ... --requests 100                                a GPU with vLLM
    ... --small --seconds 1                           a tiny model, to see that it runs; nothing is recorded

Time is what random weights can say: a request is a picture of noise, 576 tokens, with 32 words, and is answered with as
many tokens as are asked for. One engine, started with "none", answers the requests of every method, which they name
themselves. In a round each method gets the same burst of requests, all at once, and the next waits until the last of
them is answered; each round begins with another method, and all pictures are new, so that no cache helps. An answer
whose prompt or text is not as long as was asked for stops the benchmark.

`requests_a_second` is over all rounds and holds all that a request costs: reading the picture, the tower, choosing, the
decoder. `times_as_many` is a round's rate over that of the same round with "none": smallest, median and largest.
`cpu_seconds` are those of this process for a request, which other work on the machine hardly moves; on a GPU they say
little. `choosing_ms` is what the method takes for an image, measured alone.

Wants the environment of `make vllm`, or a GPU with vLLM.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.harness import DEVICE, measure, record
from tokenpruner.integrations.vllm.kept_embeddings import kept_embeddings
from tokenpruner.integrations.vllm.served_method import ALL_TOKENS, OPTION, described_method
from tokenpruner.models.image_layouts import Layout, square

if TYPE_CHECKING:
    from vllm import LLM

METHODS = (ALL_TOKENS, "stride:keep_ratio=0.1", "divprune:keep_ratio=0.1", "divprune:keep_ratio=0.25")
IMAGE, END, UNKNOWN = "<image>", "</s>", "<unk>"
N_WORDS, N_KNOWN, SIDE, N_IMAGE = 32, 32000, 336, 576
# of a burst that is not timed, and how many are timed however long they take
N_WARM, N_ROUNDS = 2, 3
# the decoder of Llama-3.2-1B and the tower of CLIP-L, and what only shows that it runs
TEXT = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_key_value_heads": 8}
VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
TINY_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass(frozen=True)
class Row:
    """One method: `requests` in all, and the tokens of one of them; `times_as_many` has three parts."""

    vllm: str
    decoder_parameters: int
    tower_parameters: int
    method: str
    requests: int
    rounds: int
    prompt_tokens: int
    new_tokens: int
    requests_a_second: float
    times_as_many: dict[str, float]
    cpu_seconds: float
    choosing_ms: float | None


@dataclass(frozen=True)
class Burst:
    """How long it took, and how much of the processor."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Load:
    """How many requests a burst has, for how long a round may begin, and how many tokens an answer has."""

    requests: int
    seconds: float
    new: int


def save_model(folder: Path, is_small: bool) -> tuple[int, int]:
    """A LLaVA-1.5 with the decoder of a 1B Llama, or a tiny one, and a processor whose words are numbers.

    Returns how many parameters its decoder has, and its tower.
    """
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
        image_seq_length=N_IMAGE,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    _as_published(folder / "model.safetensors")
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(images, fast, 14, "default", image_token=IMAGE, num_additional_image_tokens=1)
    processor.save_pretrained(folder)
    n_tower = sum(own.numel() for name, own in model.named_parameters() if "vision_tower" in name)
    return model.num_parameters() - n_tower, n_tower


def _as_published(file: Path) -> None:
    """Weights by the names of published checkpoints, which vLLM reads."""
    from safetensors.torch import load_file, save_file

    old, new = "vision_tower.", "vision_tower.vision_model."
    named = {name if new in name else name.replace(old, new): value for name, value in load_file(file).items()}
    save_file(named, file, metadata={"format": "pt"})


def requests(n: int, seed: int) -> Iterator[dict[str, object]]:
    """Prompts with a picture each; no two are alike."""
    from PIL import Image

    drawn = np.random.default_rng(seed)
    for _ in range(n):
        picture = Image.fromarray(drawn.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
        words = " ".join(map(str, drawn.integers(3, N_KNOWN, N_WORDS)))
        yield {"prompt": f"{IMAGE} {words}", "multi_modal_data": {"image": picture}}


def started(folder: Path, is_small: bool) -> LLM:
    """An engine that prunes on request; a tiny model is not compiled."""
    from vllm import LLM

    return LLM(
        str(folder),
        dtype="bfloat16",
        max_model_len=2048,
        max_num_batched_tokens=2048,
        kv_cache_memory_bytes=1 << 31,
        enforce_eager=is_small,
        hf_overrides={OPTION: ALL_TOKENS},
    )


def answer(llm: LLM, method: str, prompts: Sequence[Mapping[str, object]], n_new: int) -> Burst:
    """What all prompts take at once. Raises ValueError where prompt or answer is not as long as was asked for."""
    from vllm import SamplingParams

    asked = [{**prompt, "mm_processor_kwargs": {OPTION: method}} for prompt in prompts]
    sampling = SamplingParams(max_tokens=n_new, temperature=0, ignore_eos=True)
    start, cpu_start = time.perf_counter(), time.process_time()
    answers = llm.generate(asked, sampling, use_tqdm=False)
    burst = Burst(time.perf_counter() - start, time.process_time() - cpu_start)
    found = {(len(own.prompt_token_ids), len(own.outputs[0].token_ids)) for own in answers}
    if found != {(n_prompt(method), n_new)} or len(answers) != len(prompts):
        raise ValueError(f"{method}: want {n_prompt(method)} tokens of a prompt and {n_new} of an answer, got {found}")
    return burst


def n_prompt(method: str) -> int:
    """Tokens of a request that enter the decoder."""
    own = described_method(method)
    return N_WORDS + (N_IMAGE if own is None else own.counts([N_IMAGE])[0])


def choosing_ms(method: str) -> float | None:
    """Milliseconds that the method takes for one image of the decoder's width; None where all tokens stay."""
    own = described_method(method)
    if own is None:
        return None
    width = TEXT["hidden_size"]
    text, image = (torch.randn(n, width, device=DEVICE).to(torch.bfloat16) for n in (N_WORDS, N_IMAGE))
    layout = Layout(N_IMAGE, views=square(N_IMAGE))
    return round(measure(kept_embeddings, [(image, text, layout, own)]).p50, 3)


def bursts_of(llm: LLM, load: Load) -> dict[str, list[Burst]]:
    """Each method's burst, round by round."""
    print("the engine is up, and warms up", flush=True)
    for method in METHODS:
        answer(llm, method, [*requests(N_WARM, 0)], load.new)
    bursts: dict[str, list[Burst]] = {method: [] for method in METHODS}
    end, turn = time.perf_counter() + load.seconds, 0
    while turn < N_ROUNDS or time.perf_counter() < end:
        prompts = [*requests(load.requests, 1 + turn)]
        at = turn % len(METHODS)
        for method in (*METHODS[at:], *METHODS[:at]):
            bursts[method].append(answer(llm, method, prompts, load.new))
            print(f"round {turn}: {method:<26}{bursts[method][-1]}", flush=True)
        turn += 1
    return bursts


def rows_of(bursts: Mapping[str, Sequence[Burst]], load: Load, parameters: tuple[int, int]) -> list[Row]:
    """What was measured, a row a method."""
    import vllm

    rows = []
    for method, own in bursts.items():
        times = [whole.seconds / burst.seconds for whole, burst in zip(bursts[ALL_TOKENS], own, strict=True)]
        spread = {"least": min(times), "median": statistics.median(times), "most": max(times)}
        n = load.requests * len(own)
        rows.append(
            Row(
                vllm.__version__,
                *parameters,
                method=method,
                requests=n,
                rounds=len(own),
                prompt_tokens=n_prompt(method),
                new_tokens=load.new,
                requests_a_second=round(n / sum(burst.seconds for burst in own), 4),
                times_as_many={name: round(value, 3) for name, value in spread.items()},
                cpu_seconds=round(sum(burst.cpu_seconds for burst in own) / n, 3),
                choosing_ms=choosing_ms(method),
            )
        )
    return rows


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=4, help="of a burst")
    parser.add_argument("--seconds", type=float, default=480, help="after which no round begins; three always do")
    parser.add_argument("--new", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--small", action="store_true", help="a tiny model, to see that it runs; nothing is recorded")
    given = parser.parse_args()
    load = Load(given.requests, given.seconds, given.new)
    # read when vLLM is imported: the engine in this process, which then waits for none in a loop, and on all cores
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with tempfile.TemporaryDirectory() as folder:
        parameters = save_model(Path(folder), given.small)
        rows = rows_of(bursts_of(started(Path(folder), given.small), load), load, parameters)
    for row in rows:
        print(f"{row.method:<26}{row.prompt_tokens:>5} prompt tokens{row.requests_a_second:>8.3f} requests a second")
    if not given.small:
        print(record("served_requests", rows))


if __name__ == "__main__":
    main()
