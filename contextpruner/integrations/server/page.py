"""The page at `/`: a question and documents are pasted, and it shows what is kept and why.

A form and no script; what comes back is `results.html_page` below it. Nothing is stored, and nothing of it is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from contextpruner.documents.document import Given
from contextpruner.documents.format_detection import FORMATS
from contextpruner.integrations.server.gate import is_key
from contextpruner.integrations.server.refusals import RefusedError
from contextpruner.integrations.server.service import Service
from contextpruner.results.html_page import STYLE, html_body
from contextpruner.results.result import Result
from prunekernels.io.escape import CONTENT_SECURITY_POLICY, html_text
from prunekernels.io.html_page import STYLE as COMMON_STYLE

# a line of this between two documents
BETWEEN = "---"
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY.replace("form-action 'none'", "form-action 'self'"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
EXAMPLE = {
    "question": "Who designed the dome of Florence Cathedral?",
    "documents": "Florence Cathedral stands in Tuscany. Its dome was designed by Filippo Brunelleschi, who won the "
    "commission in 1418. Visitors climb 463 steps.\n---\nSt Paul's is an Anglican cathedral in London. Sir Christopher "
    "Wren designed the present building.\n---\nBread is baked from dough of flour and water.",
}
FIELDS = ("question", "documents", "format", "rule", "value", "key")
RULES = {
    "": "the server's own",
    "threshold": "probability of at least",
    "top_k": "best units, this many",
    "max_tokens": "tokens, at most",
    "target_recall": "share of what answers",
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
.wrong { border-left: 4px solid #c0392b; padding: .5rem .9rem; background: var(--card); margin: 0 0 1.4rem;
  overflow-wrap: anywhere; }
"""


def page_routes(service: Service) -> APIRouter:
    """The page, empty and filled in."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def form() -> HTMLResponse:
        return _page(service, EXAMPLE, "", 200)

    @router.post("/")
    async def shown(request: Request) -> HTMLResponse:
        given: Mapping[str, str] = {}
        try:
            given = _fields(await request.body())
            if not is_key(given["key"], service.settings.api_keys):
                raise RefusedError(401, "This server wants an API key.")
            result = await service.prune(request, given["question"], _documents(given), _rules(given))
        except RefusedError as refused:
            wrong = f'<p class="wrong" role="alert">{html_text(refused.reason)}</p>'
            return _page(service, given, wrong, refused.status)
        return _page(service, given, _shown(result, service.settings.shadow), 200)

    return router


def _fields(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=len(FIELDS))
    except ValueError as error:
        raise RefusedError(422, "want the fields of the form, in UTF-8") from error
    return {name: fields.get(name, [""])[0].replace("\r\n", "\n") for name in FIELDS}


def _documents(given: Mapping[str, str]) -> list[Given]:
    """The documents between lines of `---`, the empty ones left out."""
    parts: list[list[str]] = [[]]
    for line in given["documents"].split("\n"):
        if line.strip() == BETWEEN:
            parts.append([])
        else:
            parts[-1].append(line)
    texts = ["\n".join(lines) for lines in parts]
    return [{"text": text, "format": given["format"] or "text"} for text in texts if text.strip()]


def _rules(given: Mapping[str, str]) -> dict[str, object]:
    rule, value = given["rule"], given["value"].strip()
    if rule not in RULES:
        raise RefusedError(422, f"want a rule among {', '.join(filter(None, RULES))}")
    if not rule:
        if value:
            raise RefusedError(422, "A number wants to know what it counts: choose what is kept by it.")
        return {}
    try:
        return {rule: int(value) if rule in ("top_k", "max_tokens") else float(value)}
    except ValueError:
        raise RefusedError(422, f"{rule} wants a number, got {value[:40]!r}") from None


def _shown(result: Result, shadow: bool) -> str:
    note = '<p class="wrong">Shadow mode: answers of this server hold everything.</p>' if shadow else ""
    return note + html_body(result)


def _page(service: Service, given: Mapping[str, str], below: str, status: int) -> HTMLResponse:
    def option(value: str, name: str, chosen: str) -> str:
        return f'<option value="{html_text(value)}"{" selected" if value == chosen else ""}>{html_text(name)}</option>'

    formats = "".join(option(name, name, given.get("format") or "text") for name in FORMATS)
    rules = "".join(option(value, name, given.get("rule", "")) for value, name in RULES.items())
    # the key is not sent back
    key = '<label>API key<input type="password" name="key" autocomplete="current-password" required></label>'
    question, documents, value = (html_text(given.get(name, "")) for name in ("question", "documents", "value"))
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>contextpruner</title>
<style>{COMMON_STYLE}{STYLE}{FORM_STYLE}</style>
</head>
<body><div class="all">
<p class="tag name">contextpruner, labeler {html_text(type(service.pruner.labeler).__name__)}</p>
<form method="post" action="/#result" accept-charset="utf-8">
<label>Question<input name="question" value="{question}" dir="auto" required></label>
<label><span>Documents, a line of <code>{BETWEEN}</code> between two</span>
<textarea name="documents" rows="9" dir="auto" required>
{documents}</textarea></label>
<div class="row">
<label>Format<select name="format">{formats}</select></label>
<label>What is kept<select name="rule">{rules}</select></label>
<label>Number<input name="value" value="{value}" inputmode="decimal" placeholder="with a rule"></label>
{key if service.settings.api_keys else ""}
<button>Prune</button>
</div>
</form>
<div id="result">
{below}
</div>
</div></body>
</html>
"""
    return HTMLResponse(page, status, HEADERS)
