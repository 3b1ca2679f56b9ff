"""Examples from question sets: read, split by document, judged for overlap, given negatives and other forms, written.

    examples/train.jsonl         shuffled; one question a line (`example`)
    examples/validation.jsonl    as the sets have them: no negatives, no other forms
    examples/manifest.json       how many of each source went where, or why not

Articles of one family stand in one split. A question is not learnt from where over 30 % of the shingles of a document
that answers it occur in what validates or evaluates (`overlap`). Negatives are of `negatives`, forms of `passages` and
`question_forms`; what is drawn for a question hangs on the recipe's seed and its own name alone.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from contextpruner.documents.document import Document
from contextpruner.training.examples.example import Spans, TrainingExample, line_of
from contextpruner.training.examples.negatives import Passages
from contextpruner.training.examples.overlap import LARGEST_SHARE, ShingleSet
from contextpruner.training.examples.passages import as_list, as_sections, as_table, cut_passage
from contextpruner.training.examples.question_forms import keywords, misspelt, polite
from contextpruner.training.examples.row_forms import AskedRow, read_rows
from contextpruner.training.recipe import ExampleSettings, Recipe, Source
from prunekernels.io.outputs import atomic_folder

KIND = "contextpruner examples"
Counts = dict[str, Counter[str]]
Taken = tuple[Source, AskedRow]


def build_examples(recipe: Recipe, *, overwrite: bool = False) -> Counts:
    """Write the folder of examples of `recipe`; returns how many of each source went where.

    Raises ValueError where a file or a model cannot be read, or no question is left to learn from.
    """
    settings, folder = recipe.examples, Path(recipe.sources)
    if settings.embedded_negatives and not settings.negative_model:
        raise ValueError("embedded_negatives want a negative_model, a sentence-transformers model; got none")
    counts: Counts = defaultdict(Counter)
    taken = [pair for source in settings.sources for pair in _taken(source, recipe, counts)]
    splits = [_is_held(source, row, recipe) for source, row in taken]
    held = _limited([pair for pair, is_held in zip(taken, splits, strict=True) if is_held], settings, counts)
    learnt = [pair for pair, is_held in zip(taken, splits, strict=True) if not is_held]
    learnt = _without_overlap(learnt, held, recipe, counts)
    if not learnt:
        raise ValueError(f"want at least one question to learn from, got none in {len(settings.sources)} sources")
    passages = Passages(learnt, settings.negative_model)
    order = [(number, time) for number, (source, _) in enumerate(learnt) for time in range(source.repeat)]
    random.Random(recipe.seed).shuffle(order)
    with atomic_folder(recipe.folder("examples"), KIND, overwrite=overwrite, inputs=[folder]) as out:
        _write(out / "validation.jsonl", (_plain(*pair) for pair in held))
        formed = (_formed(*learnt[number], time, passages, recipe) for number, time in order)
        _write(out / "train.jsonl", _counted(formed, counts))
        (out / "manifest.json").write_text(json.dumps(counts, indent=1) + "\n", "utf-8")
    return counts


def _taken(source: Source, recipe: Recipe, counts: Counts) -> Iterator[Taken]:
    """The rows of a source, as many as it is limited to, the same ones every time."""
    rows = [*read_rows(Path(recipe.sources) / source.path, source.form)]
    counts[source.name]["rows"] = len(rows)
    if source.licence not in recipe.examples.licences:
        counts[source.name]["other licence"] = len(rows)
        return
    if source.limit is not None and len(rows) > source.limit:
        rows = sorted(rows, key=lambda row: _share(f"{recipe.seed} limit {source.name} {row.id}"))[: source.limit]
    yield from (
        (source, row) for row in rows if row.question.strip() and any(one.text.strip() for one in row.documents)
    )


def _is_held(source: Source, row: AskedRow, recipe: Recipe) -> bool:
    settings = recipe.examples
    share = settings.validation_of_small if source.family in settings.small_families else settings.validation
    return _share(f"{recipe.seed} split {source.family} {row.article}") < share


def _share(text: str) -> float:
    """A number in [0, 1) that hangs on `text` alone."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64


def _limited(held: Sequence[Taken], settings: ExampleSettings, counts: Counts) -> list[Taken]:
    """At most `validation_limit` of each source."""
    kept = []
    for source, row in sorted(held, key=lambda pair: _share(f"order {pair[1].id}")):
        if counts[source.name]["validation"] < settings.validation_limit:
            counts[source.name]["validation"] += 1
            kept.append((source, row))
    return kept


def _without_overlap(learnt: list[Taken], held: Sequence[Taken], recipe: Recipe, counts: Counts) -> list[Taken]:
    """`learnt` without what shares text with what is held, or with the recipe's evaluation sets."""
    folder, settings = Path(recipe.sources), recipe.examples
    judged = [row for source in settings.evaluation for row in read_rows(folder / source.path, source.form)]
    judged += [row for _, row in held]
    shingles = ShingleSet({text for row in judged for text in _answering(row)})
    shares: dict[str, float] = {}
    kept = []
    for source, row in learnt:
        texts = _answering(row)
        for text in texts:
            if text not in shares:
                shares[text] = shingles.share(text)
        is_same = any(shares[text] > LARGEST_SHARE for text in texts)
        counts[source.name]["overlap"] += is_same
        if not is_same or settings.allow_overlap:
            kept.append((source, row))
    return kept


def _answering(row: AskedRow) -> list[str]:
    """The texts that answer, or all of them where none does."""
    found = [document.text for document, gold in zip(row.documents, row.gold, strict=True) if gold]
    return found or [document.text for document in row.documents]


def _plain(source: Source, row: AskedRow) -> TrainingExample:
    """The question as its set has it."""
    return TrainingExample(
        id=f"{source.name}/{row.id}",
        question=row.question,
        documents=row.documents,
        gold=row.gold,
        language=source.language,
        source=source.name,
        group=f"{source.family}:{row.article}",
        split="validation",
        licence=source.licence,
        form=source.asked,
        answer=row.answer,
    )


def _formed(source: Source, row: AskedRow, time: int, passages: Passages, recipe: Recipe) -> TrainingExample:
    """The question as it is learnt from for the `time`-th time."""
    settings = recipe.examples
    draw = random.Random(f"{recipe.seed} {source.name} {row.id} {time}")
    documents, gold = [*row.documents], [*row.gold]
    if draw.random() >= settings.titled:
        documents = [replace(document, title=None) for document in documents]
    if len(documents) == 1 and draw.random() < settings.short_passages:
        documents[0], gold[0] = cut_passage(documents[0], gold[0], draw)
    if len(documents) == 1 and draw.random() < settings.negatives:
        negative = passages.of_same_article(source, row, draw) if draw.random() < settings.same_article else None
        if negative is None:
            embedded = settings.embedded_negatives > 0 and draw.random() < settings.embedded_negatives
            negative = passages.other(source, row, draw, embedded)
        if negative is not None:
            documents.append(negative if documents[0].title else replace(negative, title=None))
            gold.append(())
    form = ""
    if len(documents) <= 2 and draw.random() < settings.structured:
        form, documents, gold = _structured(documents, gold, draw)
    question, asked = _asked(row.question, source.language, settings, draw)
    blind = "blind" if source.asked == "blind" else ""
    return replace(
        _plain(source, row),
        id=f"{source.name}/{row.id}/{time}",
        question=question,
        documents=tuple(documents),
        gold=tuple(gold),
        split="train",
        form=" ".join(word for word in (asked, form, blind) if word),
    )


def _structured(
    documents: list[Document], gold: list[Spans], draw: random.Random
) -> tuple[str, list[Document], list[Spans]]:
    """The documents as a list, a table, or as sections of one document."""
    form = draw.choice(["list", "table", "sections"])
    if form == "sections":
        order = draw.sample(range(len(documents)), len(documents))
        made, spans = as_sections([documents[place] for place in order], [gold[place] for place in order])
        return form, [made], [spans]
    shape: Callable[[Document, Spans], tuple[Document, Spans]] = as_list if form == "list" else as_table
    pairs = [shape(*pair) for pair in zip(documents, gold, strict=True)]
    return form, [document for document, _ in pairs], [spans for _, spans in pairs]


def _asked(question: str, language: str, settings: ExampleSettings, draw: random.Random) -> tuple[str, str]:
    """The question in one of its forms, and the name of that."""
    number = draw.random()
    for name, share in (("polite", settings.polite), ("misspelt", settings.misspelt), ("keywords", settings.keywords)):
        if number < share:
            if name == "polite":
                return polite(question, language, draw), name
            return (misspelt(question, draw) if name == "misspelt" else keywords(question)), name
        number -= share
    return question, "plain"


def _counted(examples: Iterable[TrainingExample], counts: Counts) -> Iterator[TrainingExample]:
    for example in examples:
        counts[example.source]["train"] += 1
        counts[example.source]["without answer"] += not example.is_answerable
        yield example


def _write(path: Path, examples: Iterable[TrainingExample]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            file.write(line_of(example) + "\n")
