"""vLLM tells the greedy tokens of transformers with `prune`, of as many prompt tokens, family by family."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tokenpruner.integrations.vllm_engine.served_families import FAMILIES
from tests.tokenpruner.integrations.vllm_engine.told_by import Asked, Reference, tell

METHOD = "divprune:keep_ratio=0.25"
BACKEND = {"model_impl": "transformers"}
SERVED = [
    ("llava", {}),
    ("llava", BACKEND),
    ("llava_next", {}),
    ("llava_onevision", {}),
    ("qwen2_vl", {}),
    ("qwen2_5_vl", {}),
    ("qwen2_5_vl", BACKEND),
    ("qwen3_vl", {}),
    ("glm4v", {}),
    ("internvl", BACKEND),
]


@pytest.mark.parametrize(("name", "options"), SERVED, ids=lambda value: value if isinstance(value, str) else None)
def test_tokens_and_prompt_lengths(
    name: str, options: dict[str, object], engine: Callable[..., object], reference: Callable[[str], Reference]
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
    for got, want in zip(tell(engine(name, METHOD, **options), asked), wanted, strict=True):
        got.check(want)
