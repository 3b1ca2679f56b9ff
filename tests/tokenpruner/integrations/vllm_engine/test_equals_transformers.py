"""vLLM tells the greedy tokens of transformers with `prune`, of as many prompt tokens, family by family."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tokenpruner.integrations.vllm_engine.served_families import FAMILIES
from tests.tokenpruner.integrations.vllm_engine.told_by import Asked, Reference, tell

METHOD = "divprune:keep_ratio=0.25"
# vLLM's own model, or transformers' in it
SERVED = [
    ("llava", "vllm"),
    ("llava", "transformers"),
    ("llava_next", "vllm"),
    ("llava_onevision", "vllm"),
    ("qwen2_vl", "vllm"),
    ("qwen2_5_vl", "vllm"),
    ("qwen2_5_vl", "transformers"),
    ("qwen3_vl", "vllm"),
    ("glm4v", "vllm"),
    ("internvl", "transformers"),
]


@pytest.mark.parametrize(("name", "backend"), SERVED)
def test_tokens_and_prompt_lengths(
    name: str, backend: str, engine: Callable[..., object], reference: Callable[[str], Reference]
) -> None:
    """One image and several, pictures of other shapes, the engine's method and those of requests, all at once."""
    image = FAMILIES[name].image
    asked = [
        Asked(f"w10 w11 {image} w12 w13", (1,)),
        Asked(f"w20 {image} w21 {image} w22", (2, 3), "stride:keep_ratio=0.5"),
        Asked("w30 w31 w32"),
        Asked(f"w40 {image} w41", (1,), "none"),
        Asked(f"w10 w11 {image} w12 w13", (1,), "cdpruner:keep_ratio=0.25"),
        Asked(f"w50 w51 {image} w52 w53", (1,), "cdpruner:keep_ratio=0.25"),
        Asked(f"w60 {image} w61", (2,), "pool:n_keep=4"),
    ]
    wanted = [reference(name).tell(one, METHOD) for one in asked]
    assert wanted[0].n_prompt < wanted[3].n_prompt
    for got, want in zip(tell(engine(name, METHOD, model_impl=backend), asked), wanted, strict=True):
        got.check(want)


def test_a_method_that_reads_the_tower(engine: Callable[..., object], reference: Callable[[str], Reference]) -> None:
    """transformers' own tower is read in vLLM too, for the engine's method and for requests at another ratio."""
    method, llm = "visionzip:keep_ratio=0.25", engine("llava", "visionzip:keep_ratio=0.25", model_impl="transformers")
    asked = [
        Asked("w10 <image> w11", (1,)),
        Asked("w20 <image> w21 <image> w22", (2, 3), "visionzip:keep_ratio=0.5"),
        Asked("w30 <image> w31", (2,), "stride:keep_ratio=0.5"),
    ]
    for got, one in zip(tell(llm, asked), asked, strict=True):
        got.check(reference("llava").tell(one, method))
