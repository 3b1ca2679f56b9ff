"""Haystack: BM25 over Wikipedia introductions, pruner, and SmolLM2 as the reader; both are those of `make demo`."""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
from haystack import Document, Pipeline  # noqa: E402
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever  # noqa: E402
from haystack.document_stores.in_memory import InMemoryDocumentStore  # noqa: E402
from transformers import pipeline as load  # noqa: E402

from contextpruner.integrations.haystack import DocumentPruner  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parent.parent))
from demo import assets  # noqa: E402


def main(question: str = "In which year did the eruption of Mount Vesuvius destroy Pompeii?") -> None:
    store, pipeline = InMemoryDocumentStore(), Pipeline()
    store.write_documents([Document(content=one["text"], meta={"title": one["title"]}) for one in assets.wikipedia()])
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=5))
    pipeline.add_component("pruner", DocumentPruner())
    pipeline.connect("retriever.documents", "pruner.documents")
    started = time.perf_counter()
    done = pipeline.run({name: {"query": question} for name in ("retriever", "pruner")}, {"retriever"})
    print(f"{question}\nretrieved and pruned in {1000 * (time.perf_counter() - started):,.0f} ms")
    reader = load("text-generation", model=str(assets.smollm2()))
    for name, step in (("full", "retriever"), ("pruned", "pruner")):
        context = "\n\n".join(document.content or "" for document in done[step]["documents"])
        asked = [{"role": "user", "content": f"{context}\n\nAnswer in a few words: {question}"}]
        started = time.perf_counter()
        answer = reader(asked, max_new_tokens=24, do_sample=False, return_full_text=False)[0]["generated_text"]
        ms, tokens = 1000 * (time.perf_counter() - started), len(reader.tokenizer(context)["input_ids"])
        print(f"{name} context, {tokens:,} tokens, read and answered in {ms:,.0f} ms: {answer}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
