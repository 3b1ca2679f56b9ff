"""Greedy tokens of one prompt as transformers tells them, pruned by ours, and as vLLM does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tokenpruner import prune
from tokenpruner.integrations.vllm.served_method import ALL_TOKENS, OPTION

N_NEW = 8


@dataclass(frozen=True)
class Asked:
    """A prompt whose images have these `seeds`, and the `method` that the request names, if it does."""

    text: str
    seeds: tuple[int, ...] = ()
    method: str | None = None


@dataclass(frozen=True)
class Told:
    """How many tokens entered the decoder, those that came out, and the logarithms of their probabilities."""

    n_prompt: int
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]

    def check(self, wanted: Told) -> None:
        """Raise AssertionError unless this is what was `wanted`, up to rounding in float32."""
        assert (self.n_prompt, self.tokens) == (wanted.n_prompt, wanted.tokens)
        assert self.logprobs == pytest.approx(wanted.logprobs, abs=1e-3)


def picture(seed: int) -> Image.Image:
    """Colored squares; each seed has its own, and one of three shapes."""
    drawn = np.random.default_rng(seed).integers(0, 255, (6, 6 + 3 * (seed % 3), 3), dtype=np.uint8)
    return Image.fromarray(drawn.repeat(16, 0).repeat(16, 1))


class Reference:
    """transformers with `prune`, one prompt at a time."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = AutoProcessor.from_pretrained(folder)
        self.known: dict[tuple[Asked, str], Told] = {}

    @torch.inference_mode()
    def tell(self, asked: Asked, engine: str = ALL_TOKENS) -> Told:
        """What it says, pruned by the request's method or else that of the `engine`."""
        if (asked, engine) not in self.known:
            images = {"images": [picture(seed) for seed in asked.seeds]} if asked.seeds else {}
            inputs = self.processor(text=[asked.text], return_tensors="pt", **images)
            method = asked.method or engine
            pruned = nullcontext() if method == ALL_TOKENS or not asked.seeds else prune(self.model, method)
            with pruned as report:
                out = self.model.generate(
                    **inputs,
                    max_new_tokens=N_NEW,
                    do_sample=False,
                    pad_token_id=0,
                    return_dict_in_generate=True,
                    output_logits=True,
                )
            n = inputs["input_ids"].shape[1]
            dropped = 0 if report is None else report.visual_before - report.visual_after
            new = out.sequences[0, n:]
            logprobs = torch.cat([*out.logits]).log_softmax(-1)[range(len(new)), new]
            self.known[asked, engine] = Told(n - dropped, tuple(new.tolist()), tuple(logprobs.tolist()))
        return self.known[asked, engine]


def engine(folder: Path, method: str | None = ALL_TOKENS, **options: object) -> object:
    """A vLLM in this process, started with `method`."""
    from vllm import LLM

    given = {"max_model_len": 1024, "max_num_seqs": 8, "block_size": 32, "kv_cache_memory_bytes": 1 << 25} | options
    return LLM(
        model=str(folder),
        dtype="float32",
        enforce_eager=True,
        limit_mm_per_prompt={"image": 3, "video": 0},
        hf_overrides=None if method is None else {OPTION: method},
        seed=0,
        **given,
    )


def tell(llm: object, asked: Sequence[Asked]) -> list[Told]:
    """What the engine says to all of them at once."""
    from vllm import SamplingParams

    prompts = []
    for one in asked:
        prompt: dict[str, object] = {"prompt": one.text}
        if one.seeds:
            prompt["multi_modal_data"] = {"image": [picture(seed) for seed in one.seeds]}
        if one.method is not None:
            prompt["mm_processor_kwargs"] = {OPTION: one.method}
        prompts.append(prompt)
    sampling = SamplingParams(max_tokens=N_NEW, temperature=0, ignore_eos=True, logprobs=0)
    told = []
    for out in llm.generate(prompts, sampling, use_tqdm=False):  # type: ignore[attr-defined]
        new = out.outputs[0]
        logprobs = [step[token].logprob for step, token in zip(new.logprobs, new.token_ids, strict=True)]
        told.append(Told(len(out.prompt_token_ids), tuple(new.token_ids), tuple(logprobs)))
    return told
