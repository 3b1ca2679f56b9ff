"""A smaller vocabulary for a Unigram tokenizer (SentencePiece, as XLM-R has): the pieces that the languages need.

What is kept, in this order, until there are `size` pieces:

    special tokens, and single characters that occur, without which text is unknown
    pieces by   sum over languages of count(piece, language) / count(all, language) ** 3/4   as the texts have them
    pieces by the tokenizer's own log-probability, in scripts that occur: words that these texts happen not to have

The power lets a language with more text have more pieces, but less so than it has more text.
A word whose piece is gone is cut into the pieces that are left; the model sees more tokens, and none is unknown that
was known before but for characters that never occurred.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# of the pieces, at most this share by the counts of the texts
COUNTED = 0.85
POWER = 0.75
# texts that are encoded at a time
BATCH = 512
# in front of a word in SentencePiece's form
SPACE = "▁"


def count_pieces(tokenizer: PreTrainedTokenizerBase, texts: Iterable[tuple[str, str]]) -> dict[str, np.ndarray]:
    """How often each piece occurs in (language, text) pairs: int64 [pieces] by language."""
    backend, size = tokenizer.backend_tokenizer, len(tokenizer)
    found: dict[str, np.ndarray] = {}
    waiting: dict[str, list[str]] = {}

    def count(language: str) -> None:
        coded = backend.encode_batch(waiting.pop(language), add_special_tokens=False)
        ids = np.concatenate([np.zeros(0, np.int64), *(np.array(one.ids, np.int64) for one in coded)])
        found[language] = found.get(language, np.zeros(size, np.int64)) + np.bincount(ids, minlength=size)

    for language, text in texts:
        waiting.setdefault(language, []).append(text)
        if len(waiting[language]) == BATCH:
            count(language)
    for language in [*waiting]:
        count(language)
    return found


def chosen_pieces(vocabulary: list[tuple[str, float]], special: set[int], counts: Mapping[str, np.ndarray], size: int) -> np.ndarray:  # fmt: skip # noqa: E501
    """The places of the pieces that stay, ascending int64; `vocabulary` has each piece with its log-probability."""
    n_pieces = len(vocabulary)
    shares = sum((one[:n_pieces] / max(one.sum(), 1) ** POWER for one in counts.values()), np.zeros(n_pieces))
    total = sum((one[:n_pieces] for one in counts.values()), np.zeros(n_pieces, np.int64))
    letters = {letter for place in np.flatnonzero(total).tolist() for letter in vocabulary[place][0]}
    scripts = {_script(letter) for letter in letters}
    kept = set(special)
    for place, (piece, _) in enumerate(vocabulary):
        bare = piece.removeprefix(SPACE)
        # a letter may occur inside of longer pieces alone
        if len(bare) <= 1 and (not bare or bare in letters):
            kept.add(place)
    seen = [place for place in np.argsort(-shares, kind="stable").tolist() if total[place] > 1]
    for place in seen:
        if len(kept) >= COUNTED * size:
            break
        kept.add(place)
    for place in np.argsort([-score for _, score in vocabulary], kind="stable").tolist():
        if len(kept) >= size:
            break
        if {_script(letter) for letter in vocabulary[place][0]} <= scripts:
            kept.add(place)
    return np.array(sorted(kept), np.int64)


def cut_tokenizer(file: Path, kept: np.ndarray, out: Path) -> None:
    """Write the tokenizer.json of `file` with the pieces at the places `kept` to `out`; ids are places among these."""
    held = json.loads(file.read_text("utf-8"))
    model = held["model"]
    if model.get("type") != "Unigram":
        raise ValueError(f"{file}: want a Unigram tokenizer to cut, got {model.get('type')!a:.80}")
    places = {int(old): new for new, old in enumerate(kept)}
    model["vocab"] = [model["vocab"][old] for old in kept.tolist() if old < len(model["vocab"])]
    model["unk_id"] = places[model["unk_id"]]
    held["added_tokens"] = [
        {**token, "id": places[token["id"]]} for token in held["added_tokens"] if token["id"] in places
    ]
    for processor in _processors(held.get("post_processor")):
        for token in processor.get("special_tokens", {}).values():
            token["ids"] = [places[old] for old in token["ids"]]
        for name in ("sep", "cls"):
            if name in processor:
                processor[name] = [processor[name][0], places[processor[name][1]]]
    out.write_text(json.dumps(held, ensure_ascii=False) + "\n", "utf-8")


def read_vocabulary(file: Path) -> tuple[list[tuple[str, float]], set[int]]:
    """Pieces with their log-probabilities, and the ids of special tokens among them."""
    held = json.loads(file.read_text("utf-8"))
    pieces = [(piece, float(score)) for piece, score in held["model"]["vocab"]]
    special = {token["id"] for token in held["added_tokens"] if token["id"] < len(pieces)}
    return pieces, special | {held["model"]["unk_id"]}


def _processors(processor: dict | None) -> list[dict]:
    if processor is None:
        return []
    return processor.get("processors", [processor])


def _script(letter: str) -> str:
    """The first word of a letter's name: LATIN, CYRILLIC, CJK, ...; what is no letter is of none."""
    return unicodedata.name(letter, "").partition(" ")[0] if letter.isalpha() else ""
