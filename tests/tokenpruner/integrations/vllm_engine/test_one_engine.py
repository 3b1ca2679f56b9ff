"""One engine, many requests: nobody is served another's picks, whatever the caches hold and however prompts are cut."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.tokenpruner.integrations.vllm_engine.served_families import FAMILIES
from tests.tokenpruner.integrations.vllm_engine.told_by import Asked, Reference, tell

METHODS = ("divprune:keep_ratio=0.25", "divprune:keep_ratio=0.5", "stride:n_keep=9", "cdpruner:keep_ratio=0.25", "none")
# a prompt takes several steps, some of which end inside an image
STEPS = {"enable_prefix_caching": True, "enable_chunked_prefill": True, "max_num_batched_tokens": 72}


def mixed(image: str, n: int) -> list[Asked]:
    """Few pictures, questions and methods, so that caches are hit by requests that differ in one of them."""
    drawn = random.Random(0)
    prompts = []
    for _ in range(n):
        seeds = tuple(drawn.choices((1, 2, 3), k=drawn.choice((0, 1, 1, 2))))
        start, end = drawn.choice(("w10 w11", "w20")), drawn.choice(("w30 w31", "w40"))
        text = " ".join([start, *(f"{image} w{50 + place}" for place in range(len(seeds))), end])
        prompts.append(Asked(text, seeds, drawn.choice(METHODS) if seeds else None))
    return prompts


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_a_hundred_mixed_requests(
    name: str, engine: Callable[..., object], reference: Callable[[str], Reference]
) -> None:
    """All at once they get what each alone gets, and what transformers says."""
    asked, llm = mixed(FAMILIES[name].image, 100), engine(name, "none", **STEPS)
    together = tell(llm, asked)
    for one, got in zip(asked, together, strict=True):
        got.check(reference(name).tell(one))
    for one, got in zip(asked[:20], together, strict=False):
        got.check(tell(llm, [one])[0])


def test_a_cached_start_of_a_prompt(engine: Callable[..., object], reference: Callable[[str], Reference]) -> None:
    """A prompt that goes on where another ended, with blocks that end inside the image, and one of other picks."""
    image, llm = FAMILIES["qwen2_5_vl"].image, engine("qwen2_5_vl", "divprune:keep_ratio=0.75", **STEPS)
    start = f"{' '.join(f'w{number}' for number in range(10, 40))} {image}"
    for text, method in ((f"{start} w41", None), (f"{start} w41 w42 w43", None), (f"{start} w41", "stride:n_keep=50")):
        one = Asked(text, (2,), method)
        tell(llm, [one])[0].check(reference("qwen2_5_vl").tell(one, "divprune:keep_ratio=0.75"))


def test_what_is_refused_ends_nothing(engine: Callable[..., object], reference: Callable[[str], Reference]) -> None:
    """A request for what cannot be had gets the reason, and the next one its answer."""
    llm, one = engine("llava", "none"), Asked("w10 <image> w11", (1,), "divprune:n_keep=4")
    for method, reason in (("fastv", "inside the decoder"), ("visionzip", "--model-impl transformers"), (3, "as text")):
        with pytest.raises(ValueError, match=reason):
            tell(llm, [Asked("w10 <image> w11", (1,), method)])
    tell(llm, [one])[0].check(reference("llava").tell(one))


def test_an_engine_without_the_option_is_vllms_own(
    engine: Callable[..., object], reference: Callable[[str], Reference]
) -> None:
    """Nothing is pruned there, and a request that wants it is told how to start one that does."""
    llm, one = engine("qwen2_5_vl", None), Asked(f"w10 {FAMILIES['qwen2_5_vl'].image} w11", (1,))
    tell(llm, [one])[0].check(reference("qwen2_5_vl").tell(one))
    with pytest.raises(ValueError, match="--hf-overrides"):
        tell(llm, [Asked(one.text, one.seeds, "stride")])


def test_an_engine_that_cannot_do_it_does_not_start(engine: Callable[..., object]) -> None:
    """The reason comes before anything is served."""
    with pytest.raises(ValueError, match="inside the decoder"):
        engine("llava", "fastv")
    with pytest.raises(ValueError, match='positions="keep"'):
        engine("qwen2_5_vl", "divprune:positions=compact")
