"""Which copy stays, and copies in meaning: by words, by vectors, and of an older corpus."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import datapruner


def main() -> None:
    """300 pages of an older corpus and a newer one, which has copies with spam and pages in another order of words."""
    draw = random.Random(0)
    pages = [" ".join(draw.choices([f"w{i}" for i in range(2000)], k=120)) for _ in range(300)]
    rows = [{"id": f"page-{i}", "text": page, "quality": 0.9} for i, page in enumerate(pages[100:])]
    rows += [{"id": f"spam-{i}", "text": f"{page} buy now", "quality": 0.2} for i, page in enumerate(pages[100:140])]
    sorted_pages = [" ".join(sorted(page.split())) for page in pages[100:120]]
    rows += [{"id": f"moved-{i}", "text": page, "quality": 0.5} for i, page in enumerate(sorted_pages)]
    rows += [{"id": f"old-{i}", "text": f"today {page}", "quality": 0.9} for i, page in enumerate(pages[:30])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, some in (("new", rows), ("old", [{"text": page} for page in pages[:100]])):
            (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        scorers = [f"near_duplicate:against={folder / 'old.jsonl'}", "quality=field:name=quality"]
        scorers += ["words=hashed_ngrams:longest=1", "semantic_duplicate:features=words"]
        table = datapruner.score(datapruner.Source(folder / "new.jsonl", uid="id"), scorers, out=folder / "scores")
        by_words = datapruner.select(table, "one_of_each:stays=highest", by="quality")
        by_both = datapruner.select(
            table, "one_of_each:copies=semantic_duplicate,similarity=0.9,stays=highest", by="quality", within=by_words
        )
        longest = datapruner.select(table, "one_of_each:stays=longest")
        for said, kept in (("the best of each", by_words), ("of meanings too", by_both), ("the longest", longest)):
            spam = sum(kept.uid(row).startswith("spam") for row in kept.kept.tolist())
            print(f"{said}: {kept.n_kept} of {len(rows)} rows, {spam} with spam")


if __name__ == "__main__":
    main()
