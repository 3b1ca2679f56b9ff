"""Corpora on disk and tiny models."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from datapruner import ScoreTable, Source, score
from tests.datapruner.tiny_models import save_tiny_model

WORDS = [f"word{i}" for i in range(500)]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of a kind, made once."""
    made: dict[str, Path] = {}

    def get(kind: str = "llama") -> Path:
        if kind not in made:
            made[kind] = save_tiny_model(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


def make_rows(n: int, seed: int = 0) -> list[dict[str, object]]:
    """`n` rows with unequal texts, an id and one of three sources."""
    draw = random.Random(seed)
    return [
        {
            "id": f"doc-{i}",
            "text": " ".join(draw.choices(WORDS, k=draw.randint(3, 40))),
            "source": draw.choice(["web", "web", "web", "book", "code"]),
        }
        for i in range(n)
    ]


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """103 rows as JSON lines."""
    return write_jsonl(tmp_path / "corpus.jsonl", make_rows(103))


@pytest.fixture
def table(corpus: Path, tmp_path: Path) -> ScoreTable:
    source = Source(corpus, uid="id", group="source", chunk_rows=20)
    return score(source, ["length", "random", "near_duplicate"], tmp_path / "t")
