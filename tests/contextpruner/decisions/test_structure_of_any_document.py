"""Whatever the structure of a document: units partition it, choices are closed, no introduction stands alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Document, Policy, SplitDocument
from contextpruner.decisions.closure import DEPENDENCIES, Dependencies, Dependency, kept_from
from contextpruner.decisions.policy import choose
from contextpruner.decisions.rules import is_kept
from contextpruner.decisions.token_counter import count_checked
from contextpruner.documents.format_detection import FORMATS, Format
from contextpruner.units.join import join_kept
from contextpruner.units.split import split_format

LEANING = [kind for kind in DEPENDENCIES if kind != "introduced"]

# a tree: words of a title, and what is below it
Tree = tuple[str, list["Tree"]]
WORDS = st.sampled_from(
    ["Dome", "It is tall", "Bread is baked", "Who built it?", "These are:", "a, b", "**Bold**", "x: y"]
)
TREES = st.recursive(
    WORDS.map(lambda word: (word, [])),
    lambda inside: st.tuples(WORDS, st.lists(inside, min_size=1, max_size=4)),
    max_leaves=14,
)


def markdown(tree: Tree, depth: int = 0, how: int = 0) -> str:
    word, below = tree
    marks = ("#" * min(depth + 1, 6) + " ", "  " * depth + "- ", "  " * depth + "1. ", "> " * depth, "| a | ")
    ends = ("\n\n", "\n", "\n", "\n", " |\n")
    kind = (how + depth // 2) % len(marks) if below else (how + 1) % len(marks)
    return f"{marks[kind]}{word}{ends[kind]}" + "".join(markdown(part, depth + 1, how) for part in below)


def html(tree: Tree, depth: int = 0, how: int = 0) -> str:
    word, below = tree
    inside = "".join(html(part, depth + 1, how) for part in below)
    shapes = (
        "<section><h2>{}</h2>{}</section>",
        "<ul><li>{}{}</li></ul>",
        "<dl><dt>{}</dt><dd>{}</dd></dl>",
        "<details><summary>{}</summary>{}</details>",
        "<table><caption>{}</caption><tr><th>n<tr><td rowspan=2>1<tr><td>{}</table>",
    )
    return shapes[(how + depth) % len(shapes)].format(word, inside) if below else f"<p>{word}.</p>"


def as_json(tree: Tree, depth: int = 0, how: int = 0) -> str:
    def value(part: Tree, deep: int) -> object:
        word, below = part
        if not below:
            return word
        inside = [value(one, deep + 1) for one in below]
        return {word: inside} if (deep + how) % 2 else [*inside, {"name": word}]

    return json.dumps(value(tree, depth), indent=2 if how % 2 else None)


def latex(tree: Tree, depth: int = 0, how: int = 0) -> str:
    word, below = tree
    inside = "".join(latex(part, depth + 1, how) for part in below)
    shapes = (
        f"\\section{{{word}}}\n{inside}",
        f"{word}\n\\begin{{itemize}}\n\\item {inside}\\end{{itemize}}\n",
        f"{word}\n\\begin{{equation}}\n{inside}\\end{{equation}}\n",
    )
    return shapes[(how + depth) % 3] if below else f"{word}.\n"


def words_of(tree: Tree) -> list[str]:
    return [tree[0], *(word for part in tree[1] for word in words_of(part))]


def written(tree: Tree, format_: Format, how: int) -> str:
    words = words_of(tree)
    if format_ in ("html", "json", "latex"):
        return {"html": html, "json": as_json, "latex": latex}[format_](tree, 0, how)
    if format_ == "chat":
        return "".join(f"{'Ann' if number % 2 else 'Bob'}: {word}\n" for number, word in enumerate(words))
    if format_ == "mail":
        return f"From: {words[0]}\nSubject: {words[-1]}\n\n{markdown(tree, 0, how)}"
    if format_ == "csv":
        return "name,city\n" + "".join(f'"{word}",{number}\n' for number, word in enumerate(words))
    if format_ == "subtitles":
        return "".join(
            f"{number}\n0:00:0{number % 9},000 --> 0:01:00,000\n{word}\n\n" for number, word in enumerate(words)
        )
    return markdown(tree, 0, how)


def split_document(text: str, format_: Format) -> SplitDocument:
    return SplitDocument(Document(text, format=format_), tuple(split_format(text, format_)))


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=60, deadline=None)
@given(tree=TREES, how=st.integers(0, 4), seed=st.integers(0, 99), budget=st.integers(0, 200))
def test_units_partition_and_choices_are_closed(format_: Format, tree: Tree, how: int, seed: int, budget: int) -> None:
    text = written(tree, format_, how)
    document = split_document(text, format_)
    units = document.units
    assert "".join(text[unit.start : unit.end] for unit in units) == text
    assert all(unit.start < unit.end for unit in units)
    for index, unit in enumerate(units):
        assert all(0 <= other < len(units) and other != index for _, other in unit.relations)
        assert unit.introduces is None or index < unit.introduces[0] < unit.introduces[1] <= len(units)
    values = np.random.default_rng(seed).integers(0, 5, len(units)).astype(np.float32) / 4
    leaning = Dependencies([document], LEANING)
    for policy in (Policy(max_tokens=budget), Policy(top_k=1 + seed % 3), Policy(threshold=0.75)):
        (reasons,) = choose(policy, [document], [values], len)
        kept = {number for number, reason in enumerate(reasons) if is_kept(reason)}
        # nothing more is kept with what is kept: the choice is its own closure
        assert not {other for number in kept for _, other in leaning.of(number)} - kept
        own = {
            number for number, reason in enumerate(reasons) if reason in ("budget", "top_k", "threshold", "keep_best")
        }
        assert all(units[number].competes for number in own)
        kept_text = join_kept(document.texts, [number in kept for number in range(len(units))])
        assert policy.max_tokens is None or count_checked(len, kept_text) <= budget
        # what introduces is kept with something that it is not the heading of itself
        assert not kept or any(units[number].competes for number in kept)


@pytest.mark.parametrize("format_", [one for one in FORMATS if one != "html"])
@settings(max_examples=30, deadline=None)
@given(tree=TREES, how=st.integers(0, 4), rule=st.sampled_from([{"top_k": 2}, {"max_tokens": 12}, {"threshold": 0.3}]))
def test_what_is_kept_is_verbatim(format_: Format, tree: Tree, how: int, rule: dict[str, float]) -> None:
    text = written(tree, format_, how)
    result = ContextPruner("bm25").prune("Who built the dome?", [Document(text, format=format_)], **rule)  # type: ignore[arg-type]
    (document,) = result.documents
    assert "".join(text[span.start : span.end] for span in document.spans) == text
    # slices of the text, in its order, and between them nothing but breaks
    place = 0
    for span in document.spans:
        if span.kept:
            own = text[span.start : span.end]
            at = document.text.index(own, place)
            assert not document.text[place:at].strip()
            place = at + len(own)
    assert place == len(document.text)


@settings(max_examples=60, deadline=None)
@given(
    trees=st.lists(st.tuples(TREES, st.sampled_from(FORMATS), st.integers(0, 4)), min_size=2, max_size=4),
    order=st.randoms(use_true_random=False),
    rule=st.sampled_from([{"top_k": 2}, {"max_tokens": 12}, {"threshold": 0.3}, {"threshold": 0.99}]),
)
def test_the_order_of_documents_changes_nothing(
    trees: list[tuple[Tree, Format, int]], order: object, rule: dict[str, float]
) -> None:
    documents = [Document(written(*one), format=one[1]) for one in trees]
    documents = list({document.text: document for document in documents}.values())
    there = ContextPruner("bm25").prune("Who built the dome?", documents, **rule)  # type: ignore[arg-type]
    places = list(range(len(documents)))
    order.shuffle(places)  # type: ignore[attr-defined]
    back = ContextPruner("bm25").prune("Who built the dome?", [documents[place] for place in places], **rule)  # type: ignore[arg-type]
    assert [item.spans for item in back.documents] == [there.documents[place].spans for place in places]


@settings(max_examples=60, deadline=None)
@given(
    trees=st.lists(st.tuples(TREES, st.sampled_from(FORMATS), st.integers(0, 4)), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    closure=st.sampled_from([DEPENDENCIES, (), ("heading", "introduced")]),
)
def test_from_which_threshold_on_a_unit_is_kept(
    trees: list[tuple[Tree, Format, int]], seed: int, closure: tuple[Dependency, ...]
) -> None:
    documents = [split_document(written(*one), one[1]) for one in trees]
    # as labelers give it: what does not compete, and markup, has 0
    competes = [np.array([unit.competes and unit.kind != "markup" for unit in one.units]) for one in documents]
    draw = np.random.default_rng(seed)
    values = [draw.integers(0, 5, len(one)).astype(np.float32) / 4 * one for one in competes]
    found = kept_from(documents, closure, np.concatenate(values))
    for threshold in (0.25, 0.5, 0.75, 1.0):
        policy = Policy(threshold=threshold, closure=closure, empty="empty")
        reasons = [reason for row in choose(policy, documents, values, len) for reason in row]
        assert [is_kept(reason) for reason in reasons] == (found >= threshold).tolist()
