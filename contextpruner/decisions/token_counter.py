"""Counts of language-model tokens: by any tokenizer, or a rough one that needs none.

The rough count: up to six ASCII letters, up to three other letters or digits, and any other visible character count
one each. On English prose that is 10 to 20 % above what sub-word tokenizers of 30,000 to 50,000 entries give; in
other scripts tokenizers differ by a factor of three. For a budget that must hold, pass the target model's own
tokenizer.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sized
from numbers import Integral
from pathlib import Path
from typing import Protocol

from prunekernels.extras import require
from prunekernels.io.model_loading import loading_errors

TokenCounter = Callable[[str], int]


class Tokenizer(Protocol):
    """Any object whose `encode` gives one item per token: of transformers, tokenizers, tiktoken, sentencepiece."""

    def encode(self, text: str, /) -> Sized: ...


PIECE = re.compile(r"[a-zA-Z]{1,6}|\d{1,3}|[^\W\da-zA-Z]{1,3}|[^\w\s]")

# what a tokenizer would add around every text, and words that it would refuse to read in one
PLAIN = {"add_special_tokens": False, "disallowed_special": ()}


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` has."""
    return len(PIECE.findall(text))


def counter_of(tokenizer: TokenCounter | Tokenizer) -> TokenCounter:
    """`tokenizer` as a function that counts the tokens of a text alone, without special ones around it.

    A function is taken as it is. Raises ValueError for what can neither be called nor encodes, and for a tokenizer
    that cuts or fills up what it reads.
    """
    encode = getattr(tokenizer, "encode", None)
    if encode is None:
        if not callable(tokenizer):
            raise ValueError(f"want a tokenizer or a function that counts tokens, got {type(tokenizer).__name__}")
        return tokenizer
    # a bare tokenizer of the tokenizers library; those of transformers cut only when asked to
    for name in ("truncation", "padding"):
        if isinstance(getattr(tokenizer, name, None), dict):
            raise ValueError(f"want a tokenizer that counts all of a text, got one with {name}: call no_{name}()")
    known = inspect.signature(encode).parameters
    plain: dict[str, object] = {name: value for name, value in PLAIN.items() if name in known}
    if hasattr(tokenizer, "model_max_length"):
        # transformers would warn that a model cannot read so much
        plain["verbose"] = False
    return lambda text: len(encode(text, **plain))


def counter_from(path: str) -> TokenCounter:
    """The counter of the tokenizer.json at `path`, a file or a folder that holds one."""
    file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise ValueError(f"want a tokenizer.json or a folder with one, got {path!r}")
    library = require("tokenizers", "context")
    with loading_errors(file, "a tokenizer.json"):
        tokenizer = library.Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return counter_of(tokenizer)


def count_checked(count_tokens: TokenCounter, text: str) -> int:
    """`count_tokens(text)`, and 0 for an empty text; raises ValueError if that is no count."""
    return checked_count(count_tokens(text)) if text else 0


def checked_count(count: object) -> int:
    """`count` as an integer of at least 0; raises ValueError for anything else."""
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 0:
        raise ValueError(f"want count_tokens to return an integer of at least 0, got {count!r}")
    return int(count)
