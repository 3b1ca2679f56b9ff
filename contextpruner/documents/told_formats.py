"""What a text without a suffix is written in, told from its head: subtitles, JSON, mail, a chat, CSV, LaTeX.

Each mark is one that prose does not show by chance; where none is shown, the text is a text.

    subtitles  WEBVTT, or a number and a line of times at the head
    json       all of it is JSON, or its first lines are objects
    mail       two header lines of mail or more at the head
    chat       at least `TURNS` lines "name: text", most of all lines, of at least two speakers, one of them twice
    latex      \\documentclass, \\begin{...} or \\section{...} at the head of a line
    csv        at least `ROWS` lines of the same number of cells, three or more, none of them a sentence
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter

# lines that are looked at, and characters
LINES = 50
CHARACTERS = 8000

TURNS = 3
ROWS = 3

SUBTITLES = re.compile(r"\s*+(?:WEBVTT\b|\d+\s*\n(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3} +--> )")
LATEX = re.compile(r"^\s*\\(?:documentclass|begin\s*\{|(?:sub)*section\*?\s*\{|chapter\*?\s*\{)", re.MULTILINE)
MAIL = re.compile(
    r"(?:From|To|Cc|Bcc|Subject|Date|Sent|Received|Return-Path|Message-ID|MIME-Version|Delivered-To|Reply-To"
    r"|Content-Type|Von|An|Betreff|Datum|Gesendet|De|À|Objet|Date|Para|Asunto|Fecha|Da|Oggetto|Data)\s?:(?:\s|$)",
    re.IGNORECASE,
)
ENVELOPE = re.compile(r"From \S+@\S+ ")
# a time in front, a name of at most four words or one in angle brackets
SPEAKER = re.compile(
    r"(?:\[?\(?(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?[ T])?\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]\.?m\.?)?[\])]?[\s,–-]+)?"
    r"(?:<([^<>\n]{1,40})>|\*{0,2}([^\W\d_][\w.'’-]*(?:\s[\w.'’()#-]+){0,3}?)\s?\*{0,2}"
    r"(?:[\[(]\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]\.?m\.?)?[\])]\s?)?[:：]\*{0,2})\s+\S",
    re.IGNORECASE,
)
# what stands before a colon without speaking
NO_SPEAKER_NAMES = "q a f r p question answer frage antwort réponse note http https"
NO_SPEAKERS = frozenset(NO_SPEAKER_NAMES.split())


# at the end of what somebody says, somewhere in a chat
SAID = re.compile(r"[.!?…。！？)]['\"”’]?\s*$|[,;]\s|\S+(?:\s\S+){4}")


def is_subtitles(text: str) -> bool:
    return SUBTITLES.match(text.lstrip("\ufeff"), 0) is not None


def is_json(text: str) -> bool:
    """Whether all of it, or each of its first lines, is JSON."""
    head = text[:CHARACTERS].lstrip("\ufeff \t\r\n")
    if head[:1] not in ("{", "["):
        return False
    lines = [line for line in head.split("\n") if line.strip()]
    # the last one may be cut off
    whole = lines[: LINES if len(text) <= CHARACTERS else max(len(lines) - 1, 0)]
    if len(whole) > 1 and all(_is_value(line, "{") for line in whole):
        return True
    return _is_value(text, "{[")


def is_mail(text: str) -> bool:
    lines = _head(text)
    if lines and ENVELOPE.match(lines[0]):
        return True
    n_fields = 0
    for line in lines:
        if not line or not (MAIL.match(line) or re.match(r"[A-Z][\w-]+:\s|\s", line)):
            break
        n_fields += MAIL.match(line) is not None
    return n_fields > 1 and bool(lines) and MAIL.match(lines[0]) is not None


def is_chat(text: str) -> bool:
    lines = [line for line in _head(text) if line.strip()]
    found = [match[1] or match[2] for line in lines if (match := SPEAKER.match(line))]
    counts = Counter(name.strip("* ").lower() for name in found)
    if NO_SPEAKERS & counts.keys() or len(counts) < 2 or len(found) < TURNS:
        return False
    if not any(SAID.search(line) for line in lines):
        return False
    return len(found) * 2 > len(lines) and counts.most_common(1)[0][1] > 1


def is_latex(text: str) -> bool:
    return LATEX.search(text, 0, CHARACTERS) is not None


def is_csv(text: str) -> bool:
    """Whether the lines at the head have the same number of cells."""
    lines = [line for line in _head(text) if line.strip()]
    for delimiter in ",;\t":
        rows = _rows(lines, delimiter)
        if len(rows) >= ROWS and len(rows[0]) > 2 and len({len(row) for row in rows}) == 1:
            # prose has a space behind a comma, and stops at its end
            is_prose = any(
                cell[:1] == " " or row[-1].endswith((".", "?", "!", ":", "{", "(")) for row in rows for cell in row
            )
            return not is_prose
    return False


def _rows(lines: list[str], delimiter: str) -> list[list[str]]:
    """The rows of `lines`, but a last one whose quotes do not close."""
    try:
        rows = list(csv.reader((f"{line}\n" for line in lines), delimiter=delimiter))
    except csv.Error:
        return []
    return rows[:-1] if sum(line.count('"') for line in lines) % 2 else rows


def _head(text: str) -> list[str]:
    lines = text[:CHARACTERS].lstrip("\ufeff").split("\n")
    whole = lines if len(text) <= CHARACTERS else lines[:-1]
    return [line.rstrip("\r") for line in whole[:LINES]]


def _is_value(text: str, brackets: str) -> bool:
    if text.lstrip("\ufeff \t\r\n")[:1] not in tuple(brackets):
        return False
    try:
        json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return False
    return True
