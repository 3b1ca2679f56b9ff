"""Every page stands in the one frame: another one would lack what is mended or styled there."""

from __future__ import annotations

from pathlib import Path

from prunekernels.io.html_page import STYLE, html_page

ROOT = Path(__file__).resolve().parents[3]
# a form goes back to its server, which the policy of a page that is a file forbids
OWN_FRAME = "contextpruner/integrations/server/page_frame.py"


def test_no_page_has_a_frame_of_its_own() -> None:
    folders = ("contextpruner", "datapruner", "tokenpruner", "kernels/prunekernels", "demo", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    framed = {
        path.relative_to(ROOT).as_posix() for path in files if "<!doctype html>" in path.read_text("utf-8").lower()
    }
    assert framed == {"kernels/prunekernels/io/html_page.py", OWN_FRAME}
    assert "{COMMON_STYLE}" in (ROOT / OWN_FRAME).read_text("utf-8")


def test_a_title_is_escaped_and_own_styles_come_last() -> None:
    page = html_page("<b> & co", ".own {}", "<p>body</p>")
    assert "<title>&lt;b&gt; &amp; co</title>" in page
    assert f"<style>{STYLE}.own {{}}</style>" in page
    assert page.index("Content-Security-Policy") < page.index("<style>") < page.index("<p>body</p>")
