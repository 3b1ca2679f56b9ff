"""VLMEvalKit: its own models, with a method around their generate().

    python -m tokenpruner.integrations.vlmevalkit divprune:n_keep=320 run.py --model llava_next_vicuna_7b-pruned ...

Every model of `supported_VLM` has a sibling with "-pruned" behind its name while the harness's own `run.py` runs.
In code, `pruned(model, method)` does it to one model. The harness's model must hold a transformers model as
`model.model`; those that bring a forward pass of their own are refused when they are built.
"""

from __future__ import annotations

import functools
import runpy
import sys
from collections.abc import Callable, MutableMapping
from typing import Protocol

from torch import nn

from tokenpruner.api import prune
from tokenpruner.base.token_method import method_from_text
from tokenpruner.integrations._evaluation import Totals, pruned_generate

SUFFIX = "-pruned"
INSTALL = (
    "this part is for VLMEvalKit: git clone https://github.com/open-compass/VLMEvalKit and pip install -e VLMEvalKit"
)
Argument = str | int | float | bool | None


class Model(Protocol):
    """A model of VLMEvalKit, as far as it matters here."""

    model: nn.Module
    generate_inner: Callable[..., str]
    totals: Totals


def pruned(model: Model, method: str) -> Model:
    """`model`, which from now on answers every message with `method` around it; `totals` are those of the last one."""
    chosen = method_from_text(method)
    inner = getattr(model, "model", None)
    if not isinstance(inner, nn.Module):
        raise ValueError(
            f"{type(model).__name__}: want a transformers model as its `model`, got {type(inner).__name__}"
        )
    # what does not fit the model is said before the first question
    with prune(inner, chosen):
        pass
    generate_inner = model.generate_inner

    @functools.wraps(generate_inner)
    def wrapped(*args: object, **kwargs: object) -> str:
        with pruned_generate(model.model, chosen) as model.totals:
            return generate_inner(*args, **kwargs)

    model.generate_inner = wrapped
    return model


def register(method: str, models: MutableMapping[str, Callable[..., Model]]) -> None:
    """Give each of `models`, VLMEvalKit's `supported_VLM`, a sibling that is pruned when it is built."""
    method_from_text(method)
    for name, build in [*models.items()]:
        if not name.endswith(SUFFIX):
            models[name + SUFFIX] = functools.partial(_built, build, method)


def _built(build: Callable[..., Model], method: str, **model_args: Argument) -> Model:
    return pruned(build(**model_args), method)


def main() -> None:
    """Register, then run the harness's script as if it had been started by itself."""
    if len(sys.argv) < 3:
        raise SystemExit("usage: python -m tokenpruner.integrations.vlmevalkit METHOD run.py [its options]")
    method, script = sys.argv[1:3]
    try:
        from vlmeval.config import supported_VLM
    except ImportError as error:
        raise ImportError(INSTALL) from error
    register(method, supported_VLM)
    sys.argv = sys.argv[2:]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
