"""contextpruner on Wikipedia introductions: what stays for a question, and whether the answer is in it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TypedDict

from rich.console import Console
from rich.table import Table

from contextpruner import ContextPruner, Document, Result
from contextpruner.results.html_page import html_page
from contextpruner.results.terminal_view import print_result
from demo import assets

MAX_TOKENS = 100


class Question(TypedDict):
    """A row of questions.json."""

    question: str
    answer: str
    articles: list[str]


# each a question, a string that the answer cannot do without, and articles of one kind
QUESTIONS: list[Question] = json.loads(Path(__file__).with_name("questions.json").read_text("utf-8"))


def run(out: Path, console: Console) -> Path:
    """Prune the articles of every question with every labeler; returns the HTML page of one of them."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {item["title"]: item["text"] for item in assets.wikipedia()}
    labelers = {
        # what comes with the package
        "multilingual": "multilingual",
        "bi_encoder (MiniLM)": f"bi_encoder:model={assets.minilm()}",
        "bm25": "bm25",
        "lead": "lead",
        "random": "random",
    }
    results: dict[str, list[Result]] = {}
    for name, labeler in labelers.items():
        pruner = ContextPruner(labeler)
        results[name] = [
            pruner.prune(item["question"], _documents(item["articles"], texts), max_tokens=MAX_TOKENS)
            for item in QUESTIONS
        ]
    shown = next(iter(results.values()))[0]
    print_result(shown, console)
    console.print(_table(results))
    page = out / "contexts.html"
    page.write_text(html_page(shown), "utf-8")
    return page


def _documents(titles: list[str], texts: dict[str, str]) -> list[Document]:
    return [Document(texts[title], id=title, title=title) for title in titles]


def _table(results: dict[str, list[Result]]) -> Table:
    title = f"{len(QUESTIONS)} questions, a few articles each, at most {MAX_TOKENS} tokens kept"
    table = Table("labeler", title=title, title_justify="left")
    for name in ("answer kept", "tokens before", "after", "ms a question"):
        table.add_column(name, justify="right")
    for name, rows in results.items():
        answered = sum(
            any(item["answer"] in document.text for document in result.documents)
            for result, item in zip(rows, QUESTIONS, strict=True)
        )
        cells = (
            f"{answered} of {len(rows)}",
            f"{statistics.mean(result.n_tokens_before for result in rows):.0f}",
            f"{statistics.mean(result.n_tokens_after for result in rows):.0f}",
            f"{statistics.median(result.labelling_ms for result in rows):.1f}",
        )
        table.add_row(name, *cells)
    return table
