"""Duplicates: texts with some words changed, and vectors a little apart, planted among rows that are none."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import datapruner
from benchmarks.data_jobs.comparison import Comparison, Peer, Quality, write_rows

NGRAM, PLACES, SIMILARITY = 5, 128, 0.8
# of vectors: what a copy has at the least, and what other rows of a topic stay under
NEAR = 0.9


def near(folder: Path, scale: float) -> Comparison:
    """Copies with 1 % of their words changed (5-gram Jaccard about .9), and rows with 4 % (about .7): none."""
    texts, pairs = _texts(int(4000 * scale))
    corpus = write_rows(folder / "texts.jsonl", ({"uid": str(i), "text": text} for i, text in enumerate(texts)))
    counter = iter(range(1000))

    def quality(dropped: set[int]) -> Quality:
        # of a pair either may go; what goes beside that is lost
        found = [pair for pair in pairs if dropped & set(pair)]
        extra = len(dropped) - len(found)
        return {"recall": len(found) / len(pairs), "precision": len(found) / max(1, len(found) + extra)}

    def ours() -> Quality:
        source = datapruner.Source(corpus, uid="uid")
        table = datapruner.score(source, ["near_duplicate"], folder / f"near{next(counter)}")
        return quality(
            set(datapruner.select(table, f"threshold:maximum={SIMILARITY}", "near_duplicate").dropped.tolist())
        )

    def shingles(text: str) -> list[str]:
        words = text.split()
        return [" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)]

    def datasketch() -> Quality:
        from datasketch import MinHash, MinHashLSH

        index, dropped = MinHashLSH(threshold=SIMILARITY, num_perm=PLACES), set()
        for number, text in enumerate(texts):
            sketch = MinHash(num_perm=PLACES)
            sketch.update_batch([shingle.encode() for shingle in shingles(text)])
            if index.query(sketch):
                dropped.add(number)
            else:
                index.insert(number, sketch)
        return quality(dropped)

    def rensa() -> Quality:
        from rensa import RMinHash, RMinHashLSH

        index, dropped = RMinHashLSH(threshold=SIMILARITY, num_perm=PLACES, num_bands=16), set()
        sketches: dict[int, RMinHash] = {}
        for number, text in enumerate(texts):
            sketch = RMinHash(num_perm=PLACES, seed=1)
            sketch.update(shingles(text))
            if any(sketch.jaccard(sketches[other]) >= SIMILARITY for other in index.query(sketch)):
                dropped.add(number)
            else:
                sketches[number] = sketch
                index.insert(number, sketch)
        return quality(dropped)

    peers = [
        Peer("datasketch", datasketch),
        Peer(
            "rensa", rensa, None, "takes texts from memory as they are: reads no file, folds no letters, keeps no table"
        ),
        Peer("datatrove", lambda: quality(_datatrove(corpus, folder / f"trove{next(counter)}")), 3.0),
    ]
    return Comparison("near-duplicate texts", f"{len(texts):,} texts of 100 to 500 words", ours, peers)


def semantic(folder: Path, scale: float) -> Comparison:
    """Vectors of 200 topics; three in ten are near another row (cosine of .95 and more)."""
    vectors, copies = _vectors(int(50_000 * scale))
    path = folder / "vectors.parquet"
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    texts = [str(i) for i in range(len(vectors))]
    pq.write_table(pa.table({"uid": texts, "text": texts, "embedding": embedding}), path)
    counter = iter(range(1000))

    def quality(dropped: set[int]) -> Quality:
        found = {pair for pair in copies if dropped & set(pair)}
        return {"recall": len(found) / len(copies), "precision": len(found) / max(1, len(dropped))}

    def ours() -> Quality:
        source = datapruner.Source(path, uid="uid")
        table = datapruner.score(source, ["semantic_duplicate"], folder / f"semantic{next(counter)}")
        return quality(
            set(datapruner.select(table, f"threshold:maximum={NEAR}", "semantic_duplicate").dropped.tolist())
        )

    def semhash() -> Quality:
        from semhash import SemHash

        class Looked:
            """An encoder that knows every row's vector already."""

            def encode(self, inputs: list[str], **_: object) -> np.ndarray:
                return vectors[[int(text) for text in inputs]]

        with contextlib.redirect_stderr(io.StringIO()):
            found = SemHash.from_embeddings(embeddings=vectors, records=texts, model=Looked()).self_deduplicate(NEAR)
        return quality(set(range(len(vectors))) - {int(text) for text in found.selected})

    size = f"{len(vectors):,} x {vectors.shape[1]}"
    return Comparison("semantic duplicates", size, ours, [Peer("semhash", semhash, 20.0)])


def _texts(n: int) -> tuple[list[str], list[tuple[int, int]]]:
    """`n` texts of drawn words, and the pairs that are copies; those that are changed further are none."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghiklmnoprstuw", k=draw.randint(2, 9))) for _ in range(20_000)]
    texts = [draw.choices(words, k=draw.randint(100, 500)) for _ in range(int(0.7 * n))]
    pairs = []
    for share, count in ((0.01, int(0.15 * n)), (0.04, n - int(0.7 * n) - int(0.15 * n))):
        for original in draw.sample(range(int(0.7 * n)), count):
            changed = list(texts[original])
            for place in draw.sample(range(len(changed)), max(1, int(share * len(changed)))):
                changed[place] = draw.choice(words)
            if share < 0.02:
                pairs.append((original, len(texts)))
            texts.append(changed)
    return [" ".join(text) for text in texts], pairs


def _vectors(n: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """`n` vectors float32 [n, 256] around 200 topics, and the pairs that are near."""
    draw = np.random.default_rng(0)
    singles = int(0.7 * n)
    topics = draw.normal(size=(200, 256))
    base = topics[draw.integers(0, 200, singles)] + draw.normal(size=(singles, 256))
    originals = draw.permutation(singles)[: n - singles]
    copies = base[originals] + 0.3 * draw.normal(size=(n - singles, 256))
    vectors = np.concatenate([base, copies]).astype(np.float32)
    return vectors, [(int(row), singles + i) for i, row in enumerate(originals)]


def _datatrove(corpus: Path, out: Path) -> set[int]:
    """Its four stages in one process; the rows that the last one leaves out."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=NGRAM, num_buckets=16, hashes_per_bucket=8)
    read: Callable[[], JsonlReader] = lambda: JsonlReader(str(corpus.parent), glob_pattern=corpus.name, id_key="uid")  # noqa: E731
    stages = [
        ([read(), MinhashDedupSignature(str(out / "signatures"), config)], 1),
        ([MinhashDedupBuckets(str(out / "signatures"), str(out / "buckets"), config=config)], config.num_buckets),
        ([MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config=config)], 1),
        ([read(), MinhashDedupFilter(str(out / "remove"), JsonlWriter(str(out / "removed"), compression=None)),
          JsonlWriter(str(out / "kept"), compression=None)], 1),
    ]  # fmt: skip
    for number, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(out / f"log{number}")).run()
    lines = "".join(path.read_text("utf-8") for path in (out / "removed").glob("*.jsonl")).splitlines()
    return {int(json.loads(line)["id"]) for line in lines}
