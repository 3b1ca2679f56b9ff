"""Prune a small corpus: drop near duplicates, then keep the middle of each source by length.

python examples/prune_corpus.py
"""

import json
import random
import tempfile
from pathlib import Path

import datapruner

WORDS = [f"word{number}" for number in range(300)]


def main() -> None:
    draw = random.Random(0)
    rows = [
        {"text": " ".join(draw.choices(WORDS, k=draw.randint(20, 60))), "source": draw.choice(["web", "book"])}
        for _ in range(200)
    ]
    # every tenth text comes twice, the copy with one word more
    rows += [{**row, "text": f"{row['text']} again"} for row in rows[::10]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus.jsonl"
        corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = datapruner.Source(corpus, group="source")
        table = datapruner.score(source, ["near_duplicate", "length"], out=folder / "scores")
        unique = datapruner.select(table, "threshold:maximum=0.8", by="near_duplicate")
        kept = datapruner.select(table, "middle", by="length", keep_ratio=0.5, per="source", within=unique)
        datapruner.write(source, kept, out=folder / "pruned")
        print(f"{len(rows)} rows, {unique.n_kept} without near duplicates, {kept.n_kept} kept")
        for reason, count in kept.counts().items():
            print(f"{count:4} dropped: {reason}")
        print("written:", ", ".join(sorted(path.name for path in (folder / "pruned").iterdir())))


if __name__ == "__main__":
    main()
