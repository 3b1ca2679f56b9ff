"""The page at `/`: a question and documents are pasted, and it shows what is kept and why.

A form and no script; what comes back is `results.html_page` below it. Nothing is stored, and nothing of it is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from contextpruner.documents.document import Given
from contextpruner.documents.format_detection import FORMATS
from contextpruner.integrations.server.gate import is_key
from contextpruner.integrations.server.page_frame import framed, reason_html
from contextpruner.integrations.server.refusals import RefusedError
from contextpruner.integrations.server.service import Service
from contextpruner.results.html_page import html_body
from contextpruner.results.result import Result
from prunekernels.io.escape import html_text

# a line of this between two documents
BETWEEN = "---"
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


def page_routes(service: Service) -> APIRouter:
    """The page, empty and filled in."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def form() -> HTMLResponse:
        # nobody's text is in it, so that a browser may keep it and what was typed for the way back
        return framed(_form(service, EXAMPLE, ""), cache="no-cache")

    @router.post("/")
    async def shown(request: Request) -> HTMLResponse:
        given: Mapping[str, str] = {}
        try:
            given = _fields(await request.body())
            if not is_key(given["key"], service.settings.api_keys):
                raise RefusedError(401, "This server wants an API key.")
            result = await service.prune(request, given["question"], _documents(given), _rules(given))
        except RefusedError as refused:
            body = _form(service, given, reason_html(refused))
            return framed(body, refused.status, retry_after=refused.retry_after)
        return framed(_form(service, given, _shown(result, service.settings.shadow)))

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
        raise RefusedError(422, f"Want a number for \u201c{RULES[rule]}\u201d, got {value[:40]!r}.") from None


def _shown(result: Result, shadow: bool) -> str:
    note = '<p class="wrong">Shadow mode: answers of this server hold everything.</p>' if shadow else ""
    return note + html_body(result)


def _form(service: Service, given: Mapping[str, str], below: str) -> str:
    def option(value: str, name: str, chosen: str) -> str:
        return f'<option value="{html_text(value)}"{" selected" if value == chosen else ""}>{html_text(name)}</option>'

    formats = "".join(option(name, name, given.get("format") or "text") for name in FORMATS)
    rules = "".join(option(value, name, given.get("rule", "")) for value, name in RULES.items())
    # the key is not sent back
    key = '<label>API key<input type="password" name="key" autocomplete="current-password" required></label>'
    # not made printable: what goes back into a field is sent again as it came
    question, documents, value = (escape(given.get(name, "")) for name in ("question", "documents", "value"))
    return f"""<p class="tag name">contextpruner, labeler {html_text(type(service.pruner.labeler).__name__)}</p>
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
<div id="result" tabindex="-1">
{below}
</div>"""
