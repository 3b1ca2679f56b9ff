"""Real texts of several sources with planted damage and planted contamination, and clean texts that are held out.

A folder has a file a source, JSON lines with the field `text`, plain, .gz or .xz: wikipedia.jsonl, brown.jsonl, ...
A tenth of each source is held out, by a hash of the text. Of the others one in eight gets a damaged companion:

    copy           the text again
    near copy      one word in twelve changed
    shuffled       its words in another order
    garbled        its letters exchanged by others
    boilerplate    sentences that pages have around their text, and a few of its words
    repeated       its first sentence over and over
    contamination  a held-out text between two of its own halves
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from prunekernels.io.outputs import atomic_text

KINDS = ("copy", "near copy", "shuffled", "garbled", "boilerplate", "repeated", "contamination")
HELD_OUT, DAMAGED = 10, 8
FRAGMENTS = (
    "We use cookies to make this site work.", "Subscribe to our newsletter.", "All rights reserved.",
    "Read more", "Share on social media", "Log in or register to comment.", "Terms of use | Privacy | Contact",
    "This page needs scripts to run.", "Add to basket", "Related articles", "Back to top",
)  # fmt: skip


class Text(NamedTuple):
    """A row: `damage` is "" where there is none."""

    id: str
    text: str
    source: str
    damage: str = ""


def build(folder: Path, out: Path, most: int, most_test: int) -> tuple[Path, Path]:
    """Write train.jsonl and test.jsonl into `out`, of at most so many undamaged rows, evenly over the sources."""
    files = sorted(path for path in folder.iterdir() if ".jsonl" in path.suffixes)
    if not files:
        raise ValueError(f"{folder}: want files of JSON lines, one a source, got none")
    train: list[Text] = []
    test: list[Text] = []
    for path in files:
        source = path.name.partition(".")[0]
        texts = list(dict.fromkeys(_texts(path)))
        held_out = [text for text in texts if _number(text) % HELD_OUT == 0][: -(-most_test // len(files))]
        own = [text for text in texts if _number(text) % HELD_OUT][: -(-most // len(files))]
        test += [Text(f"{source}-test-{n}", text, source) for n, text in enumerate(held_out)]
        train += [Text(f"{source}-{n}", text, source) for n, text in enumerate(own)]
    train += damaged(train, test)
    random.Random(0).shuffle(train)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("test", test)):
        with atomic_text(out / f"{name}.jsonl", replaces=True) as file:
            file.writelines(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)
    return out / "train.jsonl", out / "test.jsonl"


def damaged(rows: list[Text], held_out: list[Text]) -> Iterator[Text]:
    """A companion for one row in eight, of each kind in turn."""
    for n, row in enumerate(rows[::DAMAGED]):
        kind, draw = KINDS[n % len(KINDS)], random.Random(n)
        if kind == "contamination":
            text = _contaminated(row.text, draw.choice(held_out).text)
        else:
            text = DAMAGE[kind](row.text, draw)
        yield Text(f"{row.id}-{kind}", text, row.source, kind)


def _near(text: str, draw: random.Random) -> str:
    words = text.split(" ")
    for place in draw.sample(range(len(words)), max(1, len(words) // 12)):
        words[place] = draw.choice(words)
    return " ".join(words)


def _shuffled(text: str, draw: random.Random) -> str:
    words = text.split()
    draw.shuffle(words)
    return " ".join(words)


def _garbled(text: str, draw: random.Random) -> str:
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    return "".join(draw.choice(letters) if letter.isalpha() else letter for letter in text)


def _boilerplate(text: str, draw: random.Random) -> str:
    words = text.split()
    some = " ".join(words[: max(1, len(words) // 6)])
    return "\n".join([*draw.choices(FRAGMENTS, k=8), some, *draw.choices(FRAGMENTS, k=8)])


def _repeated(text: str, draw: random.Random) -> str:
    return " ".join([text.split(". ")[0][:200] + "."] * max(2, len(text) // 120))


def _contaminated(text: str, other: str) -> str:
    return f"{text[: len(text) // 2]}\n{other}\n{text[len(text) // 2 :]}"


DAMAGE: dict[str, Callable[[str, random.Random], str]] = {
    "copy": lambda text, draw: text, "near copy": _near, "shuffled": _shuffled, "garbled": _garbled,
    "boilerplate": _boilerplate, "repeated": _repeated,
}  # fmt: skip


def _texts(path: Path) -> Iterator[str]:
    packed = lzma if path.suffix == ".xz" else gzip if path.suffix == ".gz" else io
    with packed.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)["text"].strip()
            if len(text.split()) >= 20:
                yield text


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
