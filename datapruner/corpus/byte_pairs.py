"""Byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909) over bytes, learned from a corpus' own texts.

Every text can be written in it, and comes back as it was: the 256 bytes are tokens, and pairs that are frequent, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prunekernels.extras import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

N_BYTES = 256


def learned_byte_pairs(texts: Iterable[str], vocabulary: int, special_tokens: Sequence[str] = ()) -> Tokenizer:
    """A tokenizer of up to `vocabulary` tokens, special ones first: 256 bytes and as many pairs as the texts have."""
    library = require("tokenizers", "data")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*special_tokens],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
