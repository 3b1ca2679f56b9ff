"""Mail: header lines, each a unit, and the body as prose with what it quotes; several in a row as in a mailbox.

The subject is the heading of the body. Who sent it, to whom and when can be asked for; what only machines read (how it
travelled, how it is coded) is no answer.
"""

from __future__ import annotations

import re

from contextpruner.units.blocks import MACHINES, NEW_MAIL, Block, BlockKind
from contextpruner.units.formats.markdown import markdown_blocks

FIELD = re.compile(r"(?P<name>[A-Za-z][\w-]*(?:\s?\([^)]*\))?)\s?:(?:\s|$)")
# the line that begins a mail in a mailbox
ENVELOPE = re.compile(r"From \S+@?\S*\s.*\d{4}\s*$")
SUBJECT_NAMES = "subject betreff objet asunto oggetto assunto onderwerp тема 主题"
SUBJECTS = frozenset(SUBJECT_NAMES.split())
PEOPLE_NAMES = "from to cc bcc date reply-to sender sent von an datum gesendet de à para fecha da a data envoyé copie"
PEOPLE = frozenset(PEOPLE_NAMES.split())


def mail_blocks(text: str) -> list[Block]:
    """The blocks of `text`, which partition it."""
    begun: list[tuple[int, BlockKind, int]] = []
    position, body = 0, -1
    is_head, was_blank = True, True
    for line in text.splitlines(keepends=True):
        if was_blank and not is_head and ENVELOPE.match(line):
            begun += _body(text, body, position)
            is_head, body = True, -1
        field = FIELD.match(line) if is_head else None
        if is_head and field is not None:
            begun.append((position, *_kind(field["name"])))
        elif is_head and line.strip() and ENVELOPE.match(line):
            begun.append((position, "field", NEW_MAIL))
        elif is_head and not line.strip() and begun:
            is_head = False
        elif (is_head and line[0] not in " \t") or (not is_head and body < 0 and line.strip()):
            # no field, so no header either
            is_head, body = False, position
        was_blank = not line.strip()
        position += len(line)
    begun += _body(text, body, position)
    begun = begun or [(0, "prose", 0)]
    starts = [0, *(start for start, _, _ in begun[1:]), len(text)]
    edges = zip(starts, starts[1:], begun, strict=False)
    return [Block(start, end, kind, level) for start, end, (_, kind, level) in edges if start < end]


def _kind(name: str) -> tuple[BlockKind, int]:
    name = name.lower()
    if name in SUBJECTS:
        return "heading", 1
    return ("field", 0 if name in PEOPLE else MACHINES)


def _body(text: str, start: int, end: int) -> list[tuple[int, BlockKind, int]]:
    if start < 0:
        return []
    # its own headings stand below the subject
    found = markdown_blocks(text[start:end])
    return [(start + block.start, block.kind, block.level + (block.kind == "heading")) for block in found]
