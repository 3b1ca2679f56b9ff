"""What units hang on: headings, the first row of a table, fences, the signature around a line of code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextpruner import Unit, split, split_code

MARKDOWN = """Before.

# Top
Text. More.

## Rows
| a | b |
|---|---|
| 1 | 2 |
| 3 | 4 |

x\ty\tz
1\t2\t3

### Code
```py

def f():
    return 1
```

## Last
- item

Other
=====
End.
"""

PYTHON = '''import os

@cache
def f(a,
      b="("):
    x = 1

    if x:
        return g(
            x)
class A(B):
    """Doc."""
    @property
    def size(self): return 3
    async def go(
        self,
        key=3,
    ) -> None:
        await self.go()
f(1)
'''

BRACES = """#include <x.h>
template <typename T>
static int f(int argc, char **argv)
{
    if (x) {
        g(a);
    }
}

pub(crate) fn foo<'a>(x: &'a str) -> i32 {
    bar(x)
}
const h = async (a, b) => {
  go();
};
export class Foo extends Bar {
  constructor(x) {
    super(x);
  }
  @Override
  public Map<String, List<Integer>> get(int a) throws X {
    return null;
  }
}
"""


def shown(text: str, units: list[Unit], link: str) -> list[tuple[str, str | None]]:
    """Every unit's first line beside that of the unit that `link` names."""
    first = [text[unit.start : unit.end].strip().partition("\n")[0].strip() for unit in units]
    links = [unit.link(link) for unit in units]
    return [(line, None if link is None else first[link]) for line, link in zip(first, links, strict=True)]


def test_every_unit_knows_the_heading_of_its_section() -> None:
    under = dict(shown(MARKDOWN, split(MARKDOWN), "heading"))
    assert under == {
        "Before.": None,
        "# Top": None,
        "Text.": "# Top",
        "More.": "# Top",
        "## Rows": "# Top",
        **dict.fromkeys(["| a | b |", "| 1 | 2 |", "| 3 | 4 |", "x\ty\tz", "1\t2\t3", "### Code"], "## Rows"),
        **dict.fromkeys(["```py", "def f():", "return 1", "```"], "### Code"),
        "## Last": "# Top",
        "- item": "## Last",
        "Other": None,
        "End.": "Other",
    }


def test_a_row_knows_its_header_and_a_fenced_line_its_fence() -> None:
    units = split(MARKDOWN)
    links = [pair for pair in shown(MARKDOWN, units, "header") if pair[1] is not None]
    assert links == [
        ("| 1 | 2 |", "| a | b |"),
        ("| 3 | 4 |", "| a | b |"),
        ("1\t2\t3", "x\ty\tz"),
        ("```py", "```"),
        ("def f():", "```py"),
        ("return 1", "```py"),
        ("```", "```py"),
    ]
    assert [unit.kind for unit in units if "```" in MARKDOWN[unit.start : unit.end]] == ["fence", "fence"]


def test_a_line_of_dashes_makes_the_rows_above_it_headers() -> None:
    text = "| above |\n| a |\n|---|\n| 1 |\n"
    assert shown(text, split(text), "header") == [("| above |", None), ("| a |", "| above |"), ("| 1 |", "| a |")]


def test_a_python_line_knows_the_signature_around_it() -> None:
    units = split_code(PYTHON)
    assert shown(PYTHON, units, "signature") == [
        ("import os", None),
        ("@cache", None),
        *[(line, "@cache") for line in ("x = 1", "if x:", "return g(", "x)")],
        ("class A(B):", None),
        ('"""Doc."""', "class A(B):"),
        ("@property", "class A(B):"),
        ("async def go(", "class A(B):"),
        ("await self.go()", "async def go("),
        ("f(1)", None),
    ]
    texts = [PYTHON[unit.start : unit.end] for unit in units]
    assert '@cache\ndef f(a,\n      b="("):\n' in texts
    assert "    async def go(\n        self,\n        key=3,\n    ) -> None:\n" in texts


def test_lines_in_languages_with_braces() -> None:
    units = split_code(BRACES)
    assert shown(BRACES, units, "signature") == [
        ("#include <x.h>", None),
        ("template <typename T>", None),
        ("if (x) {", "template <typename T>"),
        ("g(a);", "template <typename T>"),
        ("pub(crate) fn foo<'a>(x: &'a str) -> i32 {", None),
        ("bar(x)", "pub(crate) fn foo<'a>(x: &'a str) -> i32 {"),
        ("const h = async (a, b) => {", None),
        ("go();", "const h = async (a, b) => {"),
        ("export class Foo extends Bar {", None),
        ("constructor(x) {", "export class Foo extends Bar {"),
        ("super(x);", "constructor(x) {"),
        ("@Override", "export class Foo extends Bar {"),
        ("return null;", "@Override"),
    ]


def test_a_signature_that_never_closes_does_not_swallow_the_file() -> None:
    text = "def f(a, (\n" + "x = 1\n" * 100
    assert len(split_code(text)) == 61


def test_code_in_a_fence_is_cut_as_a_file_is() -> None:
    fenced = f"```\n{PYTHON}```\n"
    inside = [unit for unit in split(fenced) if unit.kind == "code"]
    alone = split_code(PYTHON)
    assert [fenced[unit.start : unit.end] for unit in inside] == [PYTHON[unit.start : unit.end] for unit in alone]
    assert [unit.link("signature") and unit.link("signature") - 1 for unit in inside] == [
        unit.link("signature") for unit in alone
    ]


def test_pieces_of_a_long_row_hang_on_the_header_all_of_them() -> None:
    text = "| a |\n|---|\n| " + "word " * 20 + "|\n"
    header, *rest = split(text, max_characters=40)
    assert header.link("header") is None
    assert len(rest) > 1
    assert {unit.link("header") for unit in rest} == {0}


LINES = st.sampled_from(
    ["# A", "## B", "### C", "text. More.", "", "| a | b |", "|---|---|", "x\ty\tz", "```", "~~~", "- item", "==="]
    + ["def f(", "    def g():", "  x = 1", ")", "{", "}", "@dec", "class A {", "\r", "\u2028"]
)


@settings(max_examples=300, deadline=None)
@given(text=st.lists(LINES, max_size=40).map("\n".join), limit=st.sampled_from([5, 1200]))
@pytest.mark.parametrize("cut", [split, split_code])
def test_links_lead_back_to_units_of_the_right_kind(cut, text: str, limit: int) -> None:
    units = cut(text, limit)
    assert "".join(text[unit.start : unit.end] for unit in units) == text
    for index, unit in enumerate(units):
        links = {"heading": ("heading",), "header": ("table_row", "fence"), "signature": ("code",)}
        for name, kinds in links.items():
            link = unit.link(name)
            if link is not None:
                assert link < index or unit.kind == units[link].kind == "fence"
                assert units[link].kind in kinds
        if unit.link("header") is not None:
            assert (unit.kind == "table_row") == (units[unit.link("header")].kind == "table_row")
        if unit.link("signature") is not None:
            assert unit.kind == "code"
