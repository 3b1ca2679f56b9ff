"""A corpus whose damage is known: real Wikipedia introductions with planted rows that a filter should drop.

300 English introductions stay as they are. Beside them stand 20 rows each of exact copies, near copies (a few words
changed), introductions with shuffled words, web boilerplate, and introductions in French. Which row is what is
written to a file of its own, which no scorer reads.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from demo import assets

N_GOOD, N_EACH = 300, 20
DAMAGE = ("exact copy", "near copy", "shuffled words", "boilerplate", "another language")

BOILERPLATE = (
    "We use cookies to improve your experience on our site.",
    "By clicking Accept you agree to our use of cookies.",
    "Sign up for our newsletter and never miss an update.",
    "All rights reserved.",
    "Click here to read our privacy policy and terms of service.",
    "Share this article on Facebook, Twitter or LinkedIn.",
    "Log in or create an account to leave a comment.",
    "This website requires JavaScript to be enabled.",
    "Home | About | Contact | Careers | Help | Sitemap",
    "Add to cart. Free shipping on orders over $50.",
    "Loading, please wait...",
    "You have 3 free articles remaining this month.",
)


class Row(NamedTuple):
    """What a row is, "good" or a kind of damage, and its text."""

    kind: str
    text: str


def write_corpus(folder: Path, seed: int = 0) -> tuple[Path, list[Row]]:
    """Write `folder`/corpus.jsonl; returns it and what its rows are."""
    dice = random.Random(seed)
    english, french = (_introductions(language) for language in ("en-us", "fr-fr"))
    good = dice.sample(english, N_GOOD)
    rows = [Row("good", text) for text in good]
    for kind in DAMAGE:
        sources = dice.sample(good, N_EACH)
        rows += [Row(kind, _damaged(kind, text, french, dice)) for text in sources]
    dice.shuffle(rows)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "corpus.jsonl"
    lines = [json.dumps({"id": f"doc-{number:04}", "text": text}) for number, (_, text) in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path, rows


def dropped_by_kind(rows: list[Row], dropped: set[int]) -> Counter[str]:
    """How many rows of each kind `dropped` holds; of two exact copies, the one that stays counts as the good one."""
    gone = Counter(rows[number].kind for number in dropped)
    originals = {row.text: number for number, row in enumerate(rows) if row.kind == "good"}
    swapped = sum(
        row.kind == "exact copy" and number not in dropped and originals[row.text] in dropped
        for number, row in enumerate(rows)
    )
    return gone + Counter({"exact copy": swapped}) - Counter({"good": swapped})


def _introductions(language: str) -> list[str]:
    texts = [item["text"] for item in assets.wikipedia(language)]
    return [text for text in texts if 45 <= len(text.split()) <= 90]


def _damaged(kind: str, text: str, french: list[str], dice: random.Random) -> str:
    words = text.split()
    if kind == "near copy":
        for place in dice.sample(range(len(words)), max(1, len(words) // 25)):
            words[place] = dice.choice(words)
        return " ".join(words)
    if kind == "shuffled words":
        dice.shuffle(words)
        return " ".join(words)
    if kind == "boilerplate":
        return " ".join(dice.sample(BOILERPLATE, 8))
    if kind == "another language":
        return dice.choice(french)
    return text
