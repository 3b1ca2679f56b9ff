"""Options that say what a corpus is: the fields of `Source`, in its words."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

CHUNK_ROWS, CHUNK_BYTES = 4096, 64 << 20

Files = Annotated[
    list[str],
    typer.Argument(
        help="Files of one format (JSONL, JSON, Parquet, CSV, Arrow, text), folders of them or of images, globs, URLs."
    ),
]
Text = Annotated[
    str,
    typer.Option(
        help='Field with the text, a path as in "messages.0.content", or a template as in "{prompt}\\n{answer}".'
    ),
]
Uid = Annotated[str | None, typer.Option(help="Field with a unique id; without it, content hash and occurrence.")]
Group = Annotated[
    str | None, typer.Option(help='Field with the group (domain or class) of a row; "@file", "@folder": that it is in.')
]
Label = Annotated[str | None, typer.Option(help="Field with the label of a row.")]
Image = Annotated[str | None, typer.Option(help="Field with an encoded image.")]
Tokens = Annotated[str | None, typer.Option(help="Tokenizer that counts tokens; without it they are estimated.")]
ChunkRows = Annotated[int, typer.Option(help="Rows per chunk: what is read at once, and what a killed run may lose.")]
ChunkBytes = Annotated[int, typer.Option(help="Bytes per chunk, at most.")]
Nested = Annotated[bool, typer.Option("--nested", help="Enter the folders inside a folder.")]
TextRows = Annotated[Literal["line", "file"], typer.Option(help="What a row of a text file is.")]
OnError = Annotated[
    Literal["refuse", "skip"], typer.Option(help="Rows that cannot be used: stop, or write them apart (skipped.jsonl).")
]


def unescaped(text: str) -> str:
    """A template as it is meant: in it a backslash and n, which shells leave alone, is a line break."""
    return text.replace("\\n", "\n") if "{" in text else text
