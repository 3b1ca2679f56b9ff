"""Gold by a language model that answers and cites (Chirkova et al. 2025, arXiv:2501.16214).

The context is shown as "[0] first sentence [1] second ...", the model answers out of it and cites what it used.
Read are

    "No answer" in the reply      nothing is gold
    [i] or [i, j]                 these sentences are
    neither                       nobody knows: the document is left out

A title is sentence 0; a reply that cites nothing else says nothing of the text, and its document is left out, too.
Replies go to a file as they come, a line of JSON each; a run that was stopped asks for what is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from contextpruner.documents.document import Document
from contextpruner.training.examples.example import Spans, TrainingExample, merged
from contextpruner.units.split import split
from prunekernels.io.json_files import Fields, parse_object

# prompts in, replies out, as many and in their order
Complete = Callable[[Sequence[str]], Sequence[str]]
PROMPT = (
    "Question: {question}\n\nContext:\n{context}\n\n"
    "Answer the Question, using ONLY information provided in the Context. If no useful information is provided, you "
    "MUST output \u201cNo answer\u201d. If some parts of the Context are used to answer, you MUST cite ALL the "
    "corresponding sentences. Use the symbols [ ] to indicate when a fact comes from a sentence in the context, e.g "
    "[0] for a fact from sentence 0. You should only answer the given question and should not provide any additional "
    "information."
)
NO_ANSWER = "no answer"
CITED = re.compile(r"\[([\d, ]{1,200})\]")
BATCH = 16


def prompt(question: str, document: Document) -> str:
    """What the model is asked about one document."""
    sentences = _sentences(document)
    context = " ".join(f"[{number}] {text}" for number, (text, _) in enumerate(sentences))
    return PROMPT.format(question=question, context=context)


def cited_spans(reply: str, document: Document) -> Spans | None:
    """The characters of `document` that `reply` cites, none for "No answer"; None where nobody knows."""
    if NO_ANSWER in reply.casefold():
        return ()
    sentences = _sentences(document)
    numbers = {int(number) for cited in CITED.findall(reply) for number in re.findall(r"\d{1,6}", cited)}
    spans = [sentences[number][1] for number in sorted(numbers) if number < len(sentences)]
    found = merged(span for span in spans if span is not None)
    return found or None


def label_by_citing(
    examples: Iterable[TrainingExample], complete: Complete, replies: Path
) -> Iterator[TrainingExample]:
    """`examples` with the gold that `complete` cites; documents of which nobody knows are left out.

    `replies` is read for what was asked before and added to.
    """
    known = _read_replies(replies)
    with open(replies, "a", encoding="utf-8") as file:
        waiting = iter(examples)
        while chosen := [*islice(waiting, BATCH)]:
            asked = [(one, place) for one in chosen for place in range(len(one.documents))]
            missing = [(one, place) for one, place in asked if (one.id, place) not in known]
            prompts = [prompt(one.question, one.documents[place]) for one, place in missing]
            for (one, place), reply in zip(missing, complete(prompts) if prompts else (), strict=True):
                known[one.id, place] = reply
                file.write(json.dumps({"id": one.id, "document": place, "reply": reply}) + "\n")
            file.flush()
            yield from filter(None, (_labelled(one, known) for one in chosen))


def _labelled(example: TrainingExample, known: dict[tuple[str, int], str]) -> TrainingExample | None:
    documents, gold = [], []
    for place, document in enumerate(example.documents):
        spans = cited_spans(known[example.id, place], document)
        if spans is not None:
            documents.append(document)
            gold.append(spans)
    return replace(example, documents=tuple(documents), gold=tuple(gold)) if documents else None


def _sentences(document: Document) -> list[tuple[str, tuple[int, int] | None]]:
    """The sentences as they are numbered, and where they stand; a title stands nowhere."""
    title: list[tuple[str, tuple[int, int] | None]] = [(document.title, None)] if document.title else []
    units = [(unit.start, unit.end) for unit in split(document.text)]
    return title + [(" ".join(document.text[start:end].split()), (start, end)) for start, end in units]


def _read_replies(path: Path) -> dict[tuple[str, int], str]:
    """What was replied before; a line that a killed run wrote in part is taken off the file."""
    if not path.is_file():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    found = {}
    for number, line in enumerate(whole.splitlines(), 1):
        held = Fields(parse_object(line, f"{path}:{number}"), f"{path}:{number}")
        found[held.text("id"), held.integer("document", 0)] = held.text("reply")
    return found
