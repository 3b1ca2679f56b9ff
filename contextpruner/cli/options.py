"""Options of the commands, with the help that they print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["text", "prompt", "json", "terminal", "html"]

Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Text, Markdown, HTML and code files, .jsonl files of {id, title, text, format}, folders of them, "
        "or - for standard input."
    ),
]
DefaultLabelerText = Annotated[
    str | None,
    typer.Option(
        "--labeler", help="A labeler and its fields, say bm25:k1=1.5; see `methods`. By default the packaged model."
    ),
]
SplitterText = Annotated[str, typer.Option(help="What finds sentences, say nltk:language=german; see `methods`.")]

Question = Annotated[str | None, typer.Option("--question", "-q", help="What the documents should answer.")]
Questions = Annotated[
    str | None,
    typer.Option(help="Many questions: JSON lines of {question, documents}; a line of JSON for each comes out."),
]
Threshold = Annotated[float | None, typer.Option(help="Keep units of at least this probability, in [0, 1].")]
TopK = Annotated[int | None, typer.Option(help="Keep the k best units over all documents.")]
MaxTokens = Annotated[
    int | None,
    typer.Option(help="Keep the best units up to this many tokens over all documents."),
]
TokenizerPath = Annotated[
    str | None, typer.Option(help="Whose tokens: a tokenizer.json or its folder; else they are estimated.")
]
TargetRecall = Annotated[
    float | None, typer.Option(help="Keep this share of what answers, by the threshold of --calibration.")
]
CalibrationFile = Annotated[
    Path | None, typer.Option(help="File that `calibrate` wrote; by default the one in the model's folder.")
]
ShareOfBest = Annotated[
    float | None, typer.Option(help="Keep units of at least this share of the best one's probability.")
]
TopDocuments = Annotated[int | None, typer.Option(help="Keep something of the n best documents only.")]
Reorder = Annotated[bool, typer.Option("--reorder", help="Documents come out best first.")]
MinDocumentUnits = Annotated[int | None, typer.Option(help="At least the n best units of each document.")]
MaxDocumentUnits = Annotated[int | None, typer.Option(help="At most the n best units of each document.")]
MinDocumentTokens = Annotated[int | None, typer.Option(help="At least so many tokens of each document.")]
MaxDocumentTokens = Annotated[int | None, typer.Option(help="At most so many tokens of each document.")]
Before = Annotated[int, typer.Option(help="Keep n units before each one that is kept.")]
Behind = Annotated[int, typer.Option(help="Keep n units behind each one that is kept.")]
Protect = Annotated[
    list[str] | None, typer.Option(metavar="PATTERN", help="Always keep units with this regular expression.")
]
Redundancy = Annotated[
    float | None, typer.Option(help="Keep units of several documents once from this likeness on, say 0.9.")
]
Mmr = Annotated[
    float | None, typer.Option(help="Rank by marginal relevance: the weight of relevance beside novelty, in [0, 1].")
]
CacheFolder = Annotated[
    Path | None, typer.Option("--cache", help="Folder in which terms and vectors of documents are kept.")
]
Closure = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help="What is kept with a unit that leans on it; comma-separated, all, or none.",
        show_default="all kinds",
    ),
]
Empty = Annotated[
    Literal["keep_best", "original", "empty"],
    typer.Option(metavar="RULE", help="What is kept where nothing passes: keep_best, original or empty."),
]
EmptyPer = Annotated[
    Literal["question", "document"],
    typer.Option(metavar="UNIT", help="Nothing of the whole question, or of a document: question or document."),
]
OutputFormat = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="text, prompt (with titles and labels to cite), json, html or terminal. "
        "Default: by the suffix of --output, else terminal on a terminal and "
        "text in a pipe.",
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Write to this file, whole or not at all; - is standard output.")
]
Encoding = Annotated[
    str, typer.Option(help="Of texts, say latin-1; auto is UTF-8 or what else the extra `encodings` tells.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that is there. What was read is never replaced.")
]
Details = Annotated[bool, typer.Option("--details", help="One line a unit, with probability and reason (terminal).")]
