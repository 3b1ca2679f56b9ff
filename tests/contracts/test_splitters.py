"""What every splitter promises. Each file of contextpruner/units/splitters is enrolled by itself."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import ContextPruner, Document, Policy, split
from contextpruner.units.long_text import is_inside_character
from contextpruner.units.sentence_splitter import SPLITTERS, SentenceSplitter, SpanSplitter, build_splitter, partition
from contextpruner.units.splitters.spacy import Spacy
from contextpruner.units.unit import Unit
from prunekernels import registry, spec
from tests.contextpruner.stopwatch import seconds

NAMES = registry.names(SPLITTERS)
HARD = "aB1.!?\"') \n\t\r\x00é。」؟।ก\u0301\u200d👩🚀\ufeff\x1c\x85"
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"

PROSE = "The cat sat on the mat. Nobody saw it there, for it was dark. Was it warm? It was. "
MARKDOWN = (
    f"# Title\n\n{PROSE}\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1. Two. | 3 |\n\n"
    "```py\ndef f(x):\n    return x\n```\n\n## Below\n\nEnd. Really.\n"
)
TEXTS = (
    "",
    " \n\t ",
    "x",
    "...",
    PROSE,
    PROSE.replace(". ", ".\r\n"),
    MARKDOWN,
    f"  {PROSE}\x00 Then. \x00",
    "\ufeffA word. Another one.",
    "e\u0301. \u0301Ab. 👩‍🚀 Ok. 🇫🇷 Fin. 天气。好。 यह एक किताब है। वह घर है। ما هذا؟ هذا كتاب. แมวนั่ง อยู่บน",
    "word " * 700,
    "import os\n\n\ndef f(x):\n    return os.path.join(x)\n",
)


@pytest.fixture(params=NAMES)
def splitter(request: pytest.FixtureRequest) -> SentenceSplitter:
    """The splitter with its defaults; one whose package is not installed here is skipped."""
    made = build_splitter(request.param)
    try:
        made(PROSE)
    except ImportError as missing:
        pytest.skip(str(missing))
    return made


def _class(name: str) -> type[SentenceSplitter]:
    return registry.load(SPLITTERS, name, SentenceSplitter)  # type: ignore[type-abstract]


def _check(text: str, units: Sequence[Unit], most: int) -> None:
    edges = [0, *(unit.end for unit in units)]
    assert [unit.start for unit in units] == edges[:-1]
    assert edges[-1] == len(text)
    assert all(unit.start < unit.end for unit in units)
    assert all(len(text[unit.start : unit.end].strip()) <= most for unit in units)
    # at the head of a line a mark stands for itself
    inside = [unit.start for unit in units if text[unit.start - 1] not in LINE_ENDS]
    assert not any(is_inside_character(text, start) for start in inside)


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_dataclass_with_a_default_for_every_field(name: str) -> None:
    made = _class(name)
    assert dataclasses.is_dataclass(made)
    assert made.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (inspect.getdoc(made) or "").partition("\n")[0].endswith(".")
    assert build_splitter(spec.describe(made())) == made()
    assert build_splitter(f"{name}:max_characters=7").max_characters == 7


@pytest.mark.parametrize("text", TEXTS)
def test_units_partition_the_text_and_are_bounded(splitter: SentenceSplitter, text: str) -> None:
    units = splitter(text)
    _check(text, units, splitter.max_characters)
    _check(text, dataclasses.replace(splitter, max_characters=10)(text), 10)
    # the same again, and with other calls in between
    splitter(MARKDOWN)
    assert splitter(text) == units


def test_units_partition_any_text(splitter: SentenceSplitter) -> None:
    @settings(max_examples=60, deadline=None)
    @given(
        text=st.text(
            alphabet=st.sampled_from([*"aB1.!?\"') \n\t\r\x00é。」؟।ก\u0301\u200d👩🚀\ufeff\x1c\x85"]), max_size=60
        )
    )
    def check(text: str) -> None:
        _check(text, splitter(text), splitter.max_characters)

    check()


def test_plain_sentences_are_found(splitter: SentenceSplitter) -> None:
    assert [PROSE[unit.start : unit.end] for unit in splitter(PROSE)] == [
        "The cat sat on the mat. ",
        "Nobody saw it there, for it was dark. ",
        "Was it warm? ",
        "It was. ",
    ]


def test_only_prose_is_cut_in_its_own_way(splitter: SentenceSplitter) -> None:
    assert splitter(MARKDOWN) == split(MARKDOWN)
    kinds = ["heading", *["sentence"] * 4, *["list_item"] * 2, *["table_row"] * 2, "fence", *["code"] * 2, "fence"]
    assert [unit.kind for unit in splitter(MARKDOWN)] == [*kinds, "heading", *["sentence"] * 2]
    rows = splitter(MARKDOWN)[7:9]
    assert (rows[1].link("header"), rows[1].link("heading")) == (7, 0)


def test_every_format_is_cut_with_it(splitter: SentenceSplitter) -> None:
    pruner = ContextPruner("lead", splitter=dataclasses.replace(splitter, max_characters=30))
    page = f"<html><body><h1>Title</h1><p>{PROSE}</p><pre>\nf(x)\n</pre></body></html>"
    for format_, text in (("text", PROSE), ("text", page), ("html", page), ("markdown", MARKDOWN), ("code", "x = 1\n")):
        result = pruner.prune("Who?", [Document(text, format=format_)], top_k=100)
        units = [span for span in result.documents[0].spans if span.kind == "sentence"]
        shown = {span.text or text[span.start : span.end].strip() for span in units}
        assert "Was it warm?" in {part.strip() for part in shown} or format_ == "code"
        assert all(len(part.strip()) <= 30 for part in shown)


def test_its_own_sentences_stand_in_every_format() -> None:
    @dataclass(frozen=True)
    class AtCommas(SpanSplitter):
        def spans(self, text: str) -> list[tuple[int, int]]:
            edges = [0, *(place + 1 for place, character in enumerate(text) if character == ","), len(text)]
            return list(itertools.pairwise(edges))

    pruner = ContextPruner("lead", splitter=AtCommas())
    for format_, text in (("text", "A. B, c"), ("markdown", "# T, t\n\nA. B, c"), ("html", "<h1>T, t</h1><p>A. B, c")):
        (document,) = pruner.prune("Who?", [Document(text, format=format_)], top_k=9).documents
        found = [text[span.start : span.end] for span in document.spans if span.kind == "sentence"]
        assert [part.removeprefix("<p>") for part in found] == ["A. B, ", "c"]


def test_lone_surrogates_are_refused(splitter: SentenceSplitter) -> None:
    with pytest.raises(ValueError, match="half of a surrogate pair at character 5"):
        splitter("Good \ud800 bad.")


def test_time_is_linear_in_prose(splitter: SentenceSplitter) -> None:
    short, long = (PROSE * (n_characters // len(PROSE)) for n_characters in (20_000, 80_000))
    # four times the text in about four times the time; a quadratic rule would take sixteen times as long
    assert seconds(splitter, long) < 9 * seconds(splitter, short) + 0.05


def test_a_pruner_takes_its_name(splitter: SentenceSplitter) -> None:
    text = spec.describe(splitter)
    result = ContextPruner("bm25", splitter=text).prune("Was it warm?", [PROSE], Policy(top_k=1, closure=()))
    assert result.documents[0].text == "Was it warm? "
    assert ContextPruner.from_pretrained(splitter=text).splitter == splitter


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_package_names_the_line_that_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not issubclass(_class(name), SpanSplitter):
        pytest.skip("it needs no package")

    def missing(module: str) -> None:
        raise ImportError(module)

    # fields that no other test has used, for what is loaded is kept
    made = build_splitter({"nltk": "nltk:language=norwegian", "spacy": "spacy:language=xq"}.get(name, name))
    monkeypatch.setattr("prunekernels.extras._imported", set())
    monkeypatch.setattr("importlib.import_module", missing)
    extra = name if name in ("blingfire", "punkt", "spacy") else "splitters"
    with pytest.raises(ImportError, match=rf'pip install "prunekit\[{extra}\]"'):
        made.cut("A word.", 0, 7)


def test_unknown_names_and_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="has no 'ntlk'; it has .*nltk"):
        ContextPruner("bm25", splitter="ntlk")
    with pytest.raises(ValueError, match="rules has no field 'language'; it has max_characters"):
        build_splitter("rules:language=de")
    with pytest.raises(ValueError, match="max_characters of at least 1, got 0"):
        build_splitter("rules:max_characters=0")("a")


@pytest.mark.parametrize(
    ("text", "spans", "parts"),
    [
        ("A b. C d.", [(0, 4), (5, 9)], ["A b. ", "C d."]),
        # white space before a span, and what no span holds
        (" A b. C d. ", [(1, 5), (5, 10)], [" A b. ", "C d. "]),
        ("-A- -b- -C-", [(1, 2), (9, 10)], ["-A- -b- -", "C-"]),
        ("A b.", [], ["A b."]),
        ("A b. C", [(0, 0), (0, 4), (4, 5), (5, 5), (5, 6)], ["A b. ", "C"]),
        # a combining mark, the second half of CR LF
        ("ab. \u0301c", [(0, 3), (4, 6)], ["ab. \u0301c"]),
        ("a\r\nb", [(0, 2), (2, 4)], ["a\r\n", "b"]),
    ],
)
def test_spans_become_a_partition(text: str, spans: list[tuple[int, int]], parts: list[str]) -> None:
    ends = partition("some", text, spans)
    assert [text[start:end] for start, end in zip([0, *ends], ends, strict=False)] == parts


@pytest.mark.parametrize("spans", [[(0, 3), (2, 5)], [(3, 5), (0, 3)], [(0, 6)], [(-1, 2)], [(3, 2)]])
def test_spans_that_make_no_partition_are_refused(spans: list[tuple[int, int]]) -> None:
    @dataclass(frozen=True)
    class Broken(SpanSplitter):
        found: list[tuple[int, int]] = field(default_factory=list)

        def spans(self, text: str) -> list[tuple[int, int]]:
            return self.found

    with pytest.raises(ValueError, match=r"Broken: want spans in order and without overlap, got \["):
        Broken(spans)("a b c")


def test_nltk_takes_trained_tables_where_it_finds_them(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    data = pytest.importorskip("nltk.data", reason="nltk is not installed here")
    text = "We met Prog. Stone today. Then we left."
    assert len(build_splitter("nltk:language=test-a")(text)) == 3
    with pytest.raises(ValueError, match="want the tables tokenizers/punkt_tab/test-b in a folder"):
        build_splitter("nltk:language=test-b,data=punkt_tab")(text)
    for language in ("test-c", "test-d"):
        folder = tmp_path / "tokenizers" / "punkt_tab" / language
        folder.mkdir(parents=True)
        (folder / "abbrev_types.txt").write_text("prog\n")
        for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
            (folder / name).write_text("")
    monkeypatch.setattr(data, "path", [str(tmp_path)])
    assert len(build_splitter("nltk:language=test-c")(text)) == 2
    assert len(build_splitter("nltk:language=test-d,data=punkt_tab")(text)) == 2
    assert len(build_splitter("nltk:language=test-d,data=none")(text)) == 3


def test_spacy_runs_only_what_finds_sentences(tmp_path) -> None:  # noqa: ANN001
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed here")
    pipeline = spacy.blank("en")
    for name in ("tagger", "sentencizer", "senter", "entity_ruler"):
        pipeline.add_pipe(name)
    pipeline.get_pipe("senter").initialize(lambda: [_example(spacy, pipeline)])
    pipeline.get_pipe("tagger").add_label("NN")
    pipeline.get_pipe("tagger").initialize(lambda: [_example(spacy, pipeline)])
    pipeline.disable_pipe("senter")
    pipeline.to_disk(tmp_path / "model")
    from contextpruner.units.splitters.spacy import _pipeline

    assert _pipeline(str(tmp_path / "model"), "xx").pipe_names == ["senter"]
    _check(PROSE, build_splitter(f"spacy:model={tmp_path / 'model'}")(PROSE), 1200)
    with pytest.raises(ValueError, match="want a model that is installed, or its folder, got 'no_such_model'"):
        Spacy("no_such_model")(PROSE)


def _example(spacy, pipeline):  # noqa: ANN001, ANN202
    from spacy.training import Example

    return Example.from_dict(pipeline.make_doc("One. Two."), {"sent_starts": [1, 0, 1, 0], "tags": ["NN"] * 4})
