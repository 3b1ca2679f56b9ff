"""Patterns: they say what Python's own say, in time that no text makes longer."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contextpruner.decisions.patterns import Pattern

PATTERNS = [
    r"\bTODO\b",
    r"^a|b$",
    r"(foo|ba+r)?x{2,3}",
    r"(?i)Straße|WARN\w*",
    r"\d+\.\d+",
    r"[^a-z ]+!",
    r"(a*)*b",
    r"(?m)^x$",
    r"\bfoo\b|\bbar\b",
    r"a.c",
    r"(?s)a.c",
    r"a{0,2}b",
    r"x(?:y|z)*?w",
    r"(ab|a)(c|bcd)",
    r"\A\s*Note:",
    r"\Bo\Z",
    r"\W\S\D",
]
PARTS = ["a", "b", "c", "x", "y", "foo", "bar", " ", "\n", "TODO", ".", "1", "W", "warn", "!", "Note:", "STRASSE", "ß"]


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=120, deadline=None)
@given(text=st.lists(st.sampled_from(PARTS), max_size=9).map("".join))
@example("x\n")
@example("")
def test_they_find_what_python_finds(pattern: str, text: str) -> None:
    assert Pattern(pattern).found(text) == bool(re.search(pattern, text))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(a)\1", "it holds groupref"),
        (r"(?=a)b", "it holds assert"),
        (r"(?<!a)b", "it holds assert not"),
        (r"a*", "it matches the empty text"),
        (r"a++b", "it holds possessive repeat"),
        (r"x\b y", "it holds at"),
        (r"(?i:a)b", "flags for a part of it"),
        (r"(?a)\w", "no such flag"),
        (r"a{5000}", "more than 2000 parts"),
        (r"((a{100}){100}){100}", "more than 2000 parts"),
        (r"((){1000}){1000}a", "more than 2000 parts"),
        ("(", "protect wants a regular expression"),
    ],
)
def test_what_cannot_be_searched_in_linear_time_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", [r"(a+)+b", r"(a|aa)+b", r".*a.*a.*a.*b", r"(\w+\s?)*!$"])
def test_no_text_makes_it_backtrack(pattern: str) -> None:
    assert not Pattern(pattern).found("a" * 50_000)
