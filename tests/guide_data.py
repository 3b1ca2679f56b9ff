"""The files that docs/filtering_a_corpus.md speaks of, tiny: a crawl, instructions, vectors of pictures, logits."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.datapruner.tiny_models import save_tiny_model
from tests.datapruner.tiny_tower import save_tiny_image_classifier, save_tiny_tower

WORDS = (
    "river", "stone", "market", "letter", "garden", "window", "winter", "morning", "teacher", "engine", "harbour",
    "village", "bridge", "forest", "kitchen", "history", "paper", "island", "summer", "doctor", "music", "silver",
    "journey", "castle", "mountain", "question", "answer", "people", "water", "light",
)  # fmt: skip


def make_files(folder: Path) -> None:
    """Everything into `folder`."""
    draw = random.Random(0)
    pages = [sentences(draw, 12) for _ in range(80)]
    crawl = [
        {"id": f"w{i}", "text": text, "source": "book" if i % 4 == 0 else "web", "int_score": i % 5}
        for i, text in enumerate([*pages, *pages[:10]])
    ]
    lines(folder / "web.jsonl", crawl)
    lines(
        folder / "new.jsonl", ({"id": f"n{i}", "text": pages[i] if i < 5 else sentences(draw, 12)} for i in range(20))
    )
    lines(folder / "liked.jsonl", ({"text": sentences(draw, 12, WORDS[:12])} for _ in range(10)))
    lines(folder / "benchmark.jsonl", ({"text": pages[i]} for i in range(3)))
    answers = ({"id": f"i{i}", "instruction": sentences(draw, 1), "output": sentences(draw, 2)} for i in range(40))
    lines(folder / "instructions.jsonl", answers)
    lines(folder / "rows.jsonl", ({"id": str(i), "text": f"row {i}"} for i in range(90)))
    save_tiny_model(folder / "reference")
    save_tiny_tower(folder / "tower")
    save_tiny_image_classifier(folder / "classifier", ("cat", "dog"))
    _pictures(folder / "pictures")
    _vectors(folder)


def sentences(draw: random.Random, n: int, words: Iterable[str] = WORDS) -> str:
    """`n` English sentences of five to twelve words, on a line each."""
    made = []
    for _ in range(n):
        chosen = draw.choices([*words], k=draw.randint(3, 9))
        made.append(f"The {' and the '.join(chosen[:2])} of the {' '.join(chosen[2:])} was with that.")
    return "\n".join(made)


def lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _pictures(folder: Path) -> None:
    """Twelve pictures in two classes, one of them twice, and one that is broken."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(12):
        place = folder / ("cat", "dog")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(draw.integers(0, 255, (6, 6, 3)), np.ones((5, 5, 1))).astype(np.uint8)
        picture = Image.fromarray(pixels)
        picture.save(place / f"{number}.png")
        if number == 0:
            picture.resize((60, 60)).save(place / "copy.png")
    (folder / "cat" / "broken.png").write_bytes(b"no picture")


def _vectors(folder: Path) -> None:
    draw = np.random.default_rng(0)
    classes = np.arange(60) % 3
    vectors = (np.eye(8)[classes] * 4 + draw.normal(size=(60, 8))).astype(np.float32)
    rows = {
        "file": [f"{i}.jpg" for i in range(60)],
        "text": [f"picture {i}" for i in range(60)],
        "class": [("cat", "dog", "horse")[number] for number in classes],
        "class_number": classes,
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 8),
    }
    pq.write_table(pa.table(rows), folder / "photos.parquet")
    pq.write_table(pa.table(rows).slice(0, 12), folder / "wanted.parquet")
    labels = np.arange(80) % 4
    logits = (np.eye(4)[labels] * 3 + draw.normal(size=(80, 4))).astype(np.float32)
    wrong = np.where(np.arange(80) < 6, (labels + 1) % 4, labels)
    column = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), 4)
    names = [str(i) for i in range(80)]
    pq.write_table(pa.table({"id": names, "text": names, "label": wrong, "logits": column}), folder / "logits.parquet")
