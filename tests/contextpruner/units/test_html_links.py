"""Where links lead, and what stands in place of an image: in the text of what is kept, and in its HTML."""

import pytest

from contextpruner import ContextPruner, Document
from contextpruner.units.formats.html.attributes import LONGEST
from contextpruner.units.split import split_html

LONG = "https://x.org/" + "a" * LONGEST


def kept(page: str, question: str = "Where is the driver?") -> tuple[str, str | None]:
    document = ContextPruner("bm25").prune(question, [Document(page, format="html")], top_k=1).documents[0]
    return document.text.strip(), document.html


@pytest.mark.parametrize(
    ("page", "text", "source"),
    [
        (
            "<p>Download the driver <a class=b href='/files/driver.zip'>here</a>. Bread.</p>",
            "Download the driver here (/files/driver.zip).",
            '<p>Download the driver <a href="/files/driver.zip">here</a>. </p>',
        ),
        (
            '<p>See <a href="https://x.org/a?b=1&amp;c=2">the driver page</a>.</p><p>Bread.</p>',
            "See the driver page (https://x.org/a?b=1&c=2).",
            '<p>See <a href="https://x.org/a?b=1&amp;c=2">the driver page</a>.</p>',
        ),
        # what the words say already, in part or in whole
        ("<p><a href=/wiki/driver>Driver</a></p>", "Driver", '<p><a href="/wiki/driver">Driver</a></p>'),
        (
            "<p>Driver: <a href='mailto:a@x.org'>a@x.org</a> or <a href='mailto:b@x.org'>Bob</a></p>",
            "Driver: a@x.org or Bob (mailto:b@x.org)",
            '<p>Driver: <a href="mailto:a@x.org">a@x.org</a> or <a href="mailto:b@x.org">Bob</a></p>',
        ),
        # what leads nowhere
        ("<p>The driver <a href='#top'>here</a></p>", "The driver here", "<p>The driver <a>here</a></p>"),
        ("<p>The driver <a href=' JavaScript:x()'>x</a></p>", "The driver x", "<p>The driver <a>x</a></p>"),
        ("<p>The driver <a href='data:text/plain,x'>x</a></p>", "The driver x", "<p>The driver <a>x</a></p>"),
        (f"<p>The driver <a href='{LONG}'>x</a></p>", "The driver x", "<p>The driver <a>x</a></p>"),
        # a link that is never closed ends with its paragraph
        (
            "<p>Driver <a href='/d'>here</p>Bread.",
            "Driver here (/d)",
            '<p>Driver <a href="/d">here</a></p>',
        ),
        (
            "<table><tr><th>File<th>Link<tr><td>Driver<td><a href=//x.org/d>d</a></table>",
            "File | Link\nDriver | d (//x.org/d)",
            "<table><tr><th>File</th><th>Link</th></tr>"
            '<tr><td>Driver</td><td><a href="//x.org/d">d</a></td></tr></table>',
        ),
        # images
        (
            "<p><img src=a.png alt='The driver &quot;D&quot;'></p><p>Bread.</p>",
            'The driver "D"',
            '<p><img alt="The driver &quot;D&quot;"></p>',
        ),
        (
            "<p>The driver of\n<img alt=' Ann \n Lee'>, 1420.</p>",
            "The driver of Ann Lee, 1420.",
            '<p>The driver of\n<img alt="Ann Lee">, 1420.</p>',
        ),
        (
            "<ul><li><a href='https://x.org/d'><img alt='Driver'></a><li>Bread</ul>",
            "Driver (https://x.org/d)",
            '<ul><li><a href="https://x.org/d"><img alt="Driver"></a></li></ul>',
        ),
        ("<p>The driver <img src=b.png alt=''></p>", "The driver", "<p>The driver</p>"),
    ],
)
def test_targets_and_texts_of_images_are_kept(page: str, text: str, source: str) -> None:
    got = kept(page)
    assert got[0] == text
    assert (got[1] or "").replace("> <", "><") == source


def test_a_target_goes_with_the_last_words_of_its_link() -> None:
    units = split_html("<p><a href='https://x.org'>The dome is tall. It is old.</a> Bread.</p>")
    texts = [unit.text for unit in units if unit.text]
    assert texts == ["The dome is tall. ", "It is old (https://x.org). ", "Bread.\n"]


def test_a_block_in_a_link_ends_no_sentence_of_it() -> None:
    assert kept("<a href='https://x.org/c'><h3>Driver</h3><p>Text.</p></a>")[1] == (
        '<a href="https://x.org/c"><h3>Driver</h3><p>Text.</p></a>'
    )
