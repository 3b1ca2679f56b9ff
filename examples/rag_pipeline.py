"""A pipeline of Haystack over the pages of docs/: BM25 retriever, pruner, and a reader where you name one's folder."""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
from haystack import Document, Pipeline  # noqa: E402
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever  # noqa: E402
from haystack.document_stores.in_memory import InMemoryDocumentStore  # noqa: E402

from contextpruner.integrations.haystack import DocumentPruner  # noqa: E402

QUESTION = "Which labeler is for exact names and numbers?"
PAGES = sorted((Path(__file__).resolve().parent.parent / "docs").glob("*.md"))


def main(folder: str | None = None) -> None:
    sections = [(page.name, text) for page in PAGES for text in page.read_text("utf-8").split("\n## ")]
    store = InMemoryDocumentStore()
    store.write_documents([Document(content=text, meta={"page": n, "format": "markdown"}) for n, text in sections])
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=5))
    pipeline.add_component("pruner", DocumentPruner(labeler="bm25", rules={"max_tokens": 250}))
    pipeline.connect("retriever.documents", "pruner.documents")
    started = time.perf_counter()
    done = pipeline.run({name: {"query": QUESTION} for name in ("retriever", "pruner")}, {"retriever"})
    ms = 1000 * (time.perf_counter() - started)
    full, kept = ("\n\n".join(one.content or "" for one in done[name]["documents"]) for name in ("retriever", "pruner"))
    print(f"{QUESTION}\n\n{kept}\n\nabout {(len(full) - len(kept)) // 4} of {len(full) // 4} tokens saved, {ms:.0f} ms")
    for context in (full, kept) if folder else ():
        from transformers import pipeline as load

        prompt = f"{context}\n\nQuestion: {QUESTION}\nAnswer:"
        print(load("text-generation", model=folder)(prompt, max_new_tokens=24, return_full_text=False)[0])


if __name__ == "__main__":
    main(*sys.argv[1:2])
