"""Records in plain text: paragraphs of lines "key: value" or "key = value" that begin with the same key.

    host: db1
    port: 5432

    host: cache1
    port: 6379

One paragraph of that form alone, as of opening hours, is lines that each say something; several with the same first key
are records, and each holds together. Where most values end in a stop it is people who speak.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from contextpruner.units.blocks import Block

# no longer paragraph is looked at
CHARACTERS = 1000
PAIR = re.compile(r"[ \t]*([^\W\d_][\w .#/-]{0,30}?)[ \t]*[:=](?:[ \t]+\S|[ \t]*$)")
STOPS = (".", "!", "?")


def with_records(text: str, blocks: Sequence[Block]) -> list[Block]:
    """`blocks` of `text`, with the records among them as such."""
    keys = [_first_key(text, block) for block in blocks]
    counts = Counter(key for key in keys if key)
    return [
        block._replace(kind="record") if key and counts[key] > 1 else block
        for block, key in zip(blocks, keys, strict=True)
    ]


def _first_key(text: str, block: Block) -> str:
    """The first key of a block that has the form of a record, else nothing."""
    if block.kind != "prose" or block.level or block.end - block.start > CHARACTERS:
        return ""
    lines = text[block.start : block.end].strip().split("\n")
    found = [match[1].lower() for line in lines if (match := PAIR.match(line))]
    is_said = 2 * sum(line.rstrip().endswith(STOPS) for line in lines) > len(lines)
    if len(found) < max(len(lines), 2) or len(set(found)) < len(found) or is_said:
        return ""
    return found[0]
