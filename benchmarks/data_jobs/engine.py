"""The engine: perplexity of real text beside the loop that everybody writes, and many files beside one."""

from __future__ import annotations

import math
from pathlib import Path

import torch

import datapruner
from benchmarks.data_jobs.comparison import Comparison, Peer, Quality, write_rows

WINDOW = 1024


def perplexity(folder: Path, scale: float) -> Comparison:
    """SmolLM2-135M over Wikipedia introductions, one thread of float32; how far losses are from one text at a time."""
    from demo.assets import smollm2, wikipedia

    model = smollm2()
    texts = [article["text"] for article in wikipedia()[: int(96 * scale)]]
    corpus = write_rows(folder / "articles.jsonl", ({"uid": str(i), "text": text} for i, text in enumerate(texts)))
    exact = _losses(model, texts, batch=1)
    counter = iter(range(1000))

    def quality(losses: list[float]) -> Quality:
        return {"largest error of a mean loss": max(abs(a - b) for a, b in zip(losses, exact, strict=True))}

    def ours() -> Quality:
        source = datapruner.Source(corpus, uid="uid")
        spec = f'perplexity:model="{model}",window={WINDOW}'
        table = datapruner.score(source, [spec], folder / f"perplexity{next(counter)}")
        return quality([math.log(value) for value in table.scores("perplexity").tolist()])

    note = "batches of 8 in the order of the file, padded; all logits kept"
    peers = [Peer("transformers", lambda: quality(_losses(model, texts, batch=8)), 1.5, note)]
    return Comparison("perplexity, SmolLM2-135M", f"{len(texts)} articles", ours, peers)


@torch.inference_mode()
def _losses(folder: Path, texts: list[str], batch: int) -> list[float]:
    """Mean losses by the usual loop: pad, run, log_softmax, mask."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    losses: list[float] = []
    for start in range(0, len(texts), batch):
        given = tokenizer(
            texts[start : start + batch], return_tensors="pt", padding=True, truncation=True, max_length=WINDOW
        )
        logits = model(**given).logits[:, :-1].log_softmax(-1)
        nll = -logits.gather(-1, given["input_ids"][:, 1:, None])[..., 0]
        mask = given["attention_mask"][:, 1:]
        losses += ((nll * mask).sum(1) / mask.sum(1)).tolist()
    return losses


def many_files(folder: Path, scale: float) -> Comparison:
    """The same rows in 1,500 files and in one: both are ours, and are to take about the same."""
    n_files = int(1500 * scale)
    rows = [{"text": f"row {i} " + "word " * (i % 50)} for i in range(10 * n_files)]
    (folder / "many").mkdir()
    for number in range(n_files):
        write_rows(folder / "many" / f"{number:05}.jsonl", rows[10 * number : 10 * number + 10])
    one = write_rows(folder / "one.jsonl", rows)
    counter = iter(range(1000))

    def run(path: Path) -> Quality:
        table = datapruner.score(path, ["length"], folder / f"length{next(counter)}")
        files = sum(1 for file in Path(table.path).rglob("*") if file.is_file())
        return {"rows": table.n_rows, "files of the table": files}

    note = "one file of the same rows, by datapruner; at least half of its speed is wanted"
    peers = [Peer("datapruner", lambda: run(one), 0.5, note)]
    return Comparison("many small files", f"{n_files:,} files of 10 rows", lambda: run(folder / "many"), peers)
