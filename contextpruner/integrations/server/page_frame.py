"""The frame of the server's page, its headers, and the page of a request that is refused before any route sees it."""

from __future__ import annotations

from fastapi.responses import HTMLResponse

from contextpruner.integrations.server.refusals import RefusedError
from contextpruner.results.html_page import STYLE
from prunekernels.io.escape import CONTENT_SECURITY_POLICY, html_text, one_line
from prunekernels.io.html_page import STYLE as COMMON_STYLE

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY.replace("form-action 'none'", "form-action 'self'"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
FORM_STYLE = """
.name { margin-bottom: 1rem; }
form { display: grid; gap: .9rem; margin: 0 0 2rem; }
label { display: grid; gap: .3rem; font-size: .88rem; color: var(--soft); }
.switch label { display: inline; }
input:not([type]), input[type=password], textarea, select { font: inherit; color: var(--ink);
  background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .65rem;
  width: 100%; min-height: 2.7rem; }
textarea { resize: vertical; min-height: 11rem; line-height: 1.5; }
.row { display: flex; flex-wrap: wrap; gap: .9rem; align-items: end; } .row label { flex: 1 1 9rem; }
button { font: inherit; font-weight: 600; color: #fff; background: #1d7a4f; border: 0; border-radius: .4rem;
  padding: 0 1.5rem; min-height: 2.7rem; cursor: pointer; } button:hover { background: #17633f; }
:is(input, textarea, select, button):focus-visible { outline: 2px solid var(--kept); outline-offset: 2px; }
#result:focus { outline: none; }
.wrong { border-left: 4px solid #c0392b; padding: .5rem .9rem; background: var(--card); margin: 0 0 1.4rem;
  overflow-wrap: anywhere; }
"""


def framed(body: str, status: int = 200, cache: str = "no-store", retry_after: int | None = None) -> HTMLResponse:
    """A page around `body`, which is HTML; `cache` is its Cache-Control."""
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>contextpruner</title>
<link rel="icon" href="data:,">
<style>{COMMON_STYLE}{STYLE}{FORM_STYLE}</style>
</head>
<body><div class="all">
{body}
</div></body>
</html>
"""
    waiting = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return HTMLResponse(page, status, {**HEADERS, "Cache-Control": cache, **waiting})


def reason_html(refused: RefusedError) -> str:
    """Why a request was refused, and when to come again, for a person."""
    again = "" if refused.retry_after is None else f" Try again in {refused.retry_after} s."
    return f'<p class="wrong" role="alert">{html_text(one_line(refused.reason))}{again}</p>'


def refused_page(refused: RefusedError) -> HTMLResponse:
    """A refusal without the form, for what was sent in it was not read."""
    body = f"""<p class="tag name">contextpruner</p>
{reason_html(refused)}
<p>What you typed is not lost: go back in the browser. Or begin with <a href="/">an empty form</a>.</p>"""
    return framed(body, refused.status, retry_after=refused.retry_after)
