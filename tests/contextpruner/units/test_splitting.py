"""The splitter: units partition any text, at the places where a reader would cut."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contextpruner import split
from contextpruner.units.blocks import MAX_CHARACTERS
from contextpruner.units.long_text import is_inside_character

# texts dense in everything that opens, ends or hides a boundary
MARKUP = st.lists(
    st.sampled_from(
        [*"aB1.!?…\"'”)([]*_|-#`~:=,; \n\t\r", "\r\n", "\n\n", "```", "| a | b |", "|---|---|", "# ", "- ", "1. "]
        + [
            "。",
            "？",
            "」",
            "「",
            "।",
            "؟",
            "ก ",
            "天",
            "e\u0301",
            "\u0301",
            "\u200d",
            "👩‍🚀",
            "🇫🇷",
            "\u00a0",
            "\u2028",
            "\x00",
        ]
        + ["Dr. ", "U.S. ", "e.g. ", "J. ", "3.14", "The ", "said ", "http://a.b/c?d "]
    ),
    max_size=60,
).map("".join)
ANY = st.one_of(st.text(max_size=300), MARKUP)


def texts(text: str) -> list[str]:
    return [text[unit.start : unit.end] for unit in split(text)]


def kinds(text: str) -> list[str]:
    return [unit.kind for unit in split(text)]


@settings(max_examples=300, deadline=None)
@given(text=ANY, limit=st.integers(min_value=1, max_value=40))
def test_units_partition_the_text_and_are_bounded(text: str, limit: int) -> None:
    for units, most in ((split(text), MAX_CHARACTERS), (split(text, limit), limit)):
        edges = [0, *(unit.end for unit in units)]
        assert [unit.start for unit in units] == edges[:-1]
        assert edges[-1] == len(text)
        assert all(unit.start < unit.end for unit in units)
        assert all(len(text[unit.start : unit.end].strip()) <= most for unit in units)
    assert split(text) == split(text)


@settings(max_examples=300, deadline=None)
@given(text=ANY)
@example(text="\n\u2028 0")
def test_white_space_belongs_to_the_unit_before_it(text: str) -> None:
    for unit in split(text)[1:]:
        head = text[unit.start : unit.end]
        # but for the indentation of a line that begins a block
        indent = head[: len(head) - len(head.lstrip())]
        assert not indent or (len(text[: unit.start].splitlines()) < len((text[: unit.start] + "x").splitlines()))
        assert len(f"x{indent}".splitlines()) == 1


@settings(max_examples=300, deadline=None)
@given(text=ANY)
def test_no_unit_begins_inside_a_character(text: str) -> None:
    for unit in split(text)[1:]:
        mark = unicodedata.category(text[unit.start])[0] == "M"
        # at the head of a line a mark stands for itself
        assert not mark or text[unit.start - 1] in "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
        assert text[unit.start - 1 : unit.start + 1] != "\r\n"
        assert text[unit.start - 1] != "\u200d"


@settings(max_examples=300, deadline=None)
@given(
    paragraphs=st.lists(
        st.text(alphabet="aB .!?。é,", min_size=1, max_size=80).filter(lambda text: text.strip()), max_size=5
    )
)
def test_paragraphs_are_cut_as_if_each_stood_alone(paragraphs: list[str]) -> None:
    joined = "\n\n".join(text.strip() for text in paragraphs)
    alone = [unit for text in paragraphs for unit in texts(text.strip())]
    assert [unit.strip() for unit in texts(joined)] == [unit.strip() for unit in alone]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith met J. R. R. Tolkien in Washington, D.C. on Monday. ", "They left."],
        ["It was in Washington, D.C. ", "The U.S. Army came at 5 p.m. ", "He left the U.S. ", "It rained."],
        ['"Why?" she asked. ', '"No!" ', "He left."],
        ["He ran... and ran. ", "Then he stopped… ", "Why?! ", "Nobody knows."],
        ["Pi is 3.14. ", "See e.g. Fig. 3 or p. 12. ", "No. 5 is alive. ", "I said no. ", "Then I left."],
        ["Go to http://a.b/c?d=e.f now. ", "Mail a.b@c.de. ", "Run main.py. ", "Done."],
        ["(He left.) ", "He said “yes.” ", "[It ended.] ", "So it was.[12] ", "Right."],
        ["John F. Kennedy spoke. ", "Smith et al. (2020) agree. ", "Cats, dogs, etc. ", "The end."],
        ["Yahoo! is big. ", "Mr. and Mrs. Jones vs. St. Louis. ", "Acme Inc. ", "It is old."],
        ["Am 3. Oktober 1990 kam er. ", "Im 19. Jahrhundert z.B. war es so. ", "Er war 12. ", "Der Hund bellte."],
        ["Oh. ", "No. ", "So. ", "Go. ", "Vive en EE. UU. desde 1970. ", "A. B. Cole left."],
        ["I am 12. ", "You are 9. ", "Das Tor fiel in der 89. Minute. ", "Er lebt i. d. R. allein."],
        [
            "At 80 K. ",
            "Nothing moved. ",
            "See Appendix A. ",
            "Done at 5 p.m. ",
            "Mail came 6 p.m. Monday. ",
            "eBay fell.",
        ],
        ["„Zwei Stunden!“ ", "Dann ging sie. ", "« Entre ! » ", "La porte s’ouvrit. ", "So (he said so.) ", "Yes."],
        ["“好的。”", "大门开了。", "（他走了。）", "共两人。", "3个人（见下文。）来了。"],
        ["M. Dupont est là. ", "« Pourquoi ? » dit-elle. ", "Il part."],
        ["¿Qué pasa? ", "¡Nada! ", "El Sr. García vive en EE. UU. ", "Es alto."],
        ["i went home. ", "then i slept. ", "ok"],
        ["为什么？", "天气很好。", "今天３．１４度！", "“好。”他说。", "“走吧！”", "“好。”"],
        ["「行きますか？」と彼女は聞いた。", "はい。", "行きます。"],
        ["ما هذا؟ ", "هذا كتاب. ", "نعم."],
        ["यह एक किताब है। ", "वह घर है॥ ", "ठीक।"],
        ["Он родился в 1990 г. в Москве. ", "Это так и т.д. ", "Он ушёл."],
        ["Wrapped\nlines are\none sentence. ", "Two."],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences: list[str]) -> None:
    assert texts("".join(sentences)) == sentences


def test_blocks_of_markdown() -> None:
    parts = [
        ("heading", "\n# Title\n\n"),
        ("sentence", "Text one. "),
        ("sentence", "Text two\nwraps. "),
        ("sentence", "End.\n\n"),
        ("heading", "Setext\n------\n"),
        ("list_item", "- item one. It has two\n  lines\n"),
        ("list_item", "- item two\n\n"),
        ("list_item", "1. first\n"),
        ("list_item", "2. second\n\n"),
        ("table_row", "| a | b |\n|---|---|\n"),
        ("table_row", "| 1 | 2 |\n\n"),
        ("table_row", "c | d\n--|--\n"),
        ("table_row", "3 | 4\n\n"),
        ("fence", "```py\n"),
        ("code", "x = 1\n\n"),
        ("code", "# no heading\n"),
        ("code", "```text\n"),
        ("code", "~~~\n"),
        ("fence", "```\n"),
        ("sentence", "After. "),
        ("sentence", "And of what came later there are in all\n12. more of it.\n\n"),
        ("rule", "---\n"),
        ("heading", "== Wiki ==\r\n"),
        ("table_row", "x\ty\tz\r\n"),
        ("fence", "~~~\n"),
        ("code", "open to the end. Really."),
    ]
    text = "".join(part for _, part in parts)
    assert list(zip(kinds(text), texts(text), strict=True)) == parts


def test_a_long_list_item_is_cut_into_sentences() -> None:
    item = "1. " + "This sentence is here. " * 20
    assert len(split(item)) == 20
    assert set(kinds(item)) == {"list_item"}


def test_thai_is_cut_at_spaces_between_clauses() -> None:
    clause = "แมวนั่งอยู่บนเสื่อในบ้านหลังใหญ่ที่ริมแม่น้ำเจ้าพระยาในกรุงเทพมหานครเมื่อวานนี้ตอนเช้าตรู่ "
    assert len(clause) > 80
    assert texts(clause * 3) == [clause] * 3


def test_a_long_text_without_stops_gives_bounded_units() -> None:
    for text in ("word " * 20000, "x" * 100_000, "天" * 100_000, "👩‍🚀" * 20000, "e\u0301" * 50_000, "a,b" * 30_000):
        units = split(text)
        assert len(units) <= 1.1 * len(text) / MAX_CHARACTERS + 2
        assert not any(is_inside_character(text, unit.start) for unit in units)


def test_a_mark_is_not_torn_from_the_space_it_stands_on() -> None:
    text = "a" * 15 + " \u0301" + "b" * 15
    assert " \u0301" in "|".join(text[unit.start : unit.end] for unit in split(text, max_characters=20))


def test_characters_that_a_reader_sees_as_one() -> None:
    for text in ("e\u0301", "\r\n", "👩‍🚀", "👍🏽", "🇫🇷", "❤️", "각"):
        assert any(is_inside_character(text, place) for place in range(1, len(text))) == (text != "각")
    assert not is_inside_character("ab", 1)
    assert not is_inside_character("\n\u0301", 1)


def test_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="max_characters of at least 1, got 0"):
        split("a", max_characters=0)


def test_nothing_has_no_units_and_white_space_is_one() -> None:
    assert split("") == []
    assert texts(" \n\n\t ") == [" \n\n\t "]
