"""HTML to test with: a page, sources of any kind, and all that is done with one."""

from hypothesis import strategies as st

from contextpruner import split_html
from contextpruner.units.formats.html.serialize import prune_html

PAGE = """<!DOCTYPE html>
<html><head><title>My &amp; page</title><style>p { x: y }</style><script>if (a<b) "</p>";</script></head>
<body><!-- <p>no --><h1 id="a>b">Top</h1>
<p class="x">One <b>bold. Next</b> word &mdash; it&#8217;s. <i>Third</i>
one.<br>Line</p>
<ul><li>a. b<li>c <ul><li>d</ul></ul>
<table><tr><th>n</th><th>s</th></tr><tr><td>1</td><td><p>2</p></td></tr></table>
<h2>Sub</h2><div>text <div>inner</div> after<img src="x.png"></div>
<pre>
def f():
    return 1 &lt; 2
</pre>
x < y &amp z <p>end
"""


PARTS = ["<p>", "</p>", "<b>", "</b>", "<li>", "<ul>", "</ul>", "<table>", "<tr>", "<td>", "</td>", "</table>", "<br>"]
PARTS += ["<pre>", "</pre>", "<h1>", "</h1>", "<script>", "</script>", "<style>", "<title>", "</title>", "<!--", "-->"]
PARTS += ["<a href='x>y'>", '<a "', "<", ">", "</", "&amp;", "&", "&#x41;", "&lt", "<p/>", "<![CDATA[", "<?php ?>"]
PARTS += [
    "One. ",
    "Two",
    " \n ",
    "e\u0301",
    "\u200d",
    "👩‍🚀",
    "\r\n",
    "\x00",
    "。天",
    "def f():\n",
    "<x-y z>",
    "<svg/>",
]
SOURCES = st.one_of(st.lists(st.sampled_from(PARTS), max_size=40).map("".join), st.text(max_size=200))


def read_and_pruned(source: str) -> str:
    """Every other unit of `source`, as balanced HTML."""
    return prune_html(source, [(unit.start, unit.end) for unit in split_html(source)[::2]])
