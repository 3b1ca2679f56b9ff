"""Scorers that read more than texts, fit long or say more than a score, through a table on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from datapruner import Source, score
from datapruner.scorers.quality import Quality


def test_columns_and_details_are_written_and_read(tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    corpus, model = tmp_path / "corpus.jsonl", tiny_model("llama")
    rows = [
        {
            "text": f"The {word} was {'very ' * (i % 4)}good. {i}",
            "prompt": f"What was {word}?",
            "answer": f"It was the {word}, {i} times",
            "meta": {"reward": i % 7 + 0.5},
            "embedding": [i % 5, i % 3, 1.0],
            "label": i % 5,
        }
        for i, word in enumerate(["book", "film", "song", "play", "poem"] * 8)
    ]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    scorers = [
        "rules",
        f"dsir:target={corpus}",
        f"quality:positive={corpus},buckets=64",
        f"quality_head:examples={corpus}",
        "reward_rank:question=prompt,reward=meta.reward",
        f"sequence=perplexity:model={model},level=sequence,window=32",
        f"binned=perplexity:model={model},correct=length",
        f"ifd:model={model}",
        f"memorization:model={model},prompt=4,continuation=4",
        f"target_similarity:model={model},target={corpus}",
        "own=perplexity:reference=train,window=32,vocabulary=280,width=16,layers=1,tokens=1000",
    ]
    table = score(Source(corpus, chunk_rows=15), scorers, tmp_path / "t")
    assert len(table.columns) == len(scorers)
    assert all(np.isfinite(table.scores(name)).all() for name in table.columns)
    assert "gopher_words" in table.read("rules", "failed")[0].as_py().split(",")
    assert table.read("reward_rank", "answers").to_pylist() == [8] * 40
    assert sorted(table.read("reward_rank", "rank").to_pylist()) == sorted([*range(8)] * 5)
    np.testing.assert_allclose(table.scores("quality_head"), [row["label"] for row in rows], atol=0.3)
    assert table.read("ifd", "tokens").to_pylist() == [len(str(row["answer"])) - 1 for row in rows]
    assert len(set(table.scores("target_similarity").tolist())) == 40
    # nothing of the work is left, what fit found is: a classifier for another corpus
    assert not [*(tmp_path / "t").glob("*/workspace")]
    again = Quality(classifier=str(tmp_path / "t" / "quality" / "fit.safetensors"), buckets=64)
    again.check()
    assert again.fit([]).keys() == {"weight", "bias"}
