"""vLLM tells the greedy tokens of transformers with `prune`, of as many prompt tokens, family by family."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tokenpruner.integrations.vllm_engine.served_families import FAMILIES
from tests.tokenpruner.integrations.vllm_engine.told_by import Asked, Reference, tell

METHOD = "divprune:keep_ratio=0.25"
SERVED = ("llava", "llava_next", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v")


def asked_of(name: str) -> list[Asked]:
    """One image and several, pictures of other shapes, the engine's method and those of requests."""
    image = FAMILIES[name].image
    return [
        Asked(f"w10 w11 {image} w12 w13", (1,)),
        Asked(f"w20 {image} w21 {image} w22", (2, 3), "stride:keep_ratio=0.5"),
        Asked("w30 w31 w32"),
        Asked(f"w40 {image} w41", (1,), "none"),
        Asked(f"w10 w11 {image} w12 w13", (1,), "cdpruner:keep_ratio=0.25"),
        Asked(f"w50 w51 {image} w52 w53", (1,), "cdpruner:keep_ratio=0.25"),
        Asked(f"w60 {image} w61", (2,), "pool:n_keep=4"),
    ]


@pytest.mark.parametrize("name", SERVED)
def test_tokens_and_prompt_lengths(
    name: str, engine: Callable[..., object], reference: Callable[[str], Reference]
) -> None:
    """All at once, on vLLM's own model."""
    asked = asked_of(name)
    wanted = [reference(name).tell(one, METHOD) for one in asked]
    assert wanted[0].n_prompt < wanted[3].n_prompt
    for got, want in zip(tell(engine(name, METHOD), asked), wanted, strict=True):
        got.check(want)
