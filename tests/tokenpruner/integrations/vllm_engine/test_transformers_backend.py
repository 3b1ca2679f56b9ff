"""The same where vLLM runs the model of transformers; whose classes it changes, so that these tests come last."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tokenpruner.integrations.vllm_engine.test_equals_transformers import METHOD, asked_of
from tests.tokenpruner.integrations.vllm_engine.told_by import Asked, Reference, Told, tell

FROM_TOWER = "visionzip:keep_ratio=0.25"
CASES: dict[str, tuple[str, str, list[Asked]]] = {
    "llava": ("llava", METHOD, asked_of("llava")),
    "qwen2_5_vl": ("qwen2_5_vl", METHOD, asked_of("qwen2_5_vl")),
    # its processor puts tokens around an image, which are part of the question for `prune` alone
    "internvl": ("internvl", METHOD, [one for one in asked_of("internvl") if "cdpruner" not in (one.method or "")]),
    # the tower is read for the engine's method and for a request at another ratio
    "reads the tower": (
        "llava",
        FROM_TOWER,
        [
            Asked("w10 <image> w11", (1,)),
            Asked("w20 <image> w21 <image> w22", (2, 3), "visionzip:keep_ratio=0.5"),
            Asked("w30 <image> w31", (2,), "stride:keep_ratio=0.5"),
        ],
    ),
}


@pytest.fixture(scope="module")
def wanted(reference: Callable[[str], Reference]) -> dict[str, list[Told]]:
    """What transformers says in each case, before an engine is started."""
    return {case: [reference(name).tell(one, method) for one in asked] for case, (name, method, asked) in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_tokens_and_prompt_lengths(case: str, engine: Callable[..., object], wanted: dict[str, list[Told]]) -> None:
    """Greedy tokens, their probabilities and the lengths of prompts are those of `prune`."""
    name, method, asked = CASES[case]
    for got, want in zip(tell(engine(name, method, model_impl="transformers"), asked), wanted[case], strict=True):
        got.check(want)
