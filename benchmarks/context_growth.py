"""Time and memory of pruning one long document, in each format: it must grow as the document does.

    python -m benchmarks.context_growth                      10,000,000 characters of each format
    ... --characters 100000                                  a first look; nothing is recorded

Each document is a sample of its format written again and again with other numbers, in a process of its own. Seconds are
those of splitting, of labelling with bm25 and of choosing under three rules (a threshold, the best 50, a budget of a
tenth of the characters); `first_seconds` is all of them together for a tenth of the text, so that ten times that is the
line. Memory is the largest resident size of the process, of which some 250 MB are torch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from dataclasses import dataclass

from benchmarks.harness import record
from contextpruner import Document, Policy, SplitDocument
from contextpruner.decisions.policy import choose
from contextpruner.documents.format_detection import FORMATS, Format
from contextpruner.labeler import build_labeler
from contextpruner.units.split import split_format

CHARACTERS = 10_000_000
QUESTION = "Who measured the dome number 77?"

SAMPLES: dict[Format, str] = {
    "text": "Dome {n}\n\nThe dome number {n} is tall. It was measured by Ann.\n\nThese are its parts:\n\n"
    "1. ring {n}\n2. drum\n\n",
    "markdown": "## Dome {n}\n\nIt is **tall**. Ann measured it.\n\n- ring {n}\n  - drum\n\n"
    "| a | b |\n|---|---|\n| {n} | 2 |\n\n",
    "html": "<section><h2>Dome {n}</h2><p>It is tall &amp; old.</p><ul><li>ring {n}<li>drum</ul>"
    "<table><tr><th>a<th>b<tr><td rowspan=2>{n}<td>2<tr><td>3</table></section>",
    "code": "def dome_{n}(a):\n    b = a + {n}\n    return b\n\n\n",
    "json": '{{"id": {n}, "dome": "tall", "by": {{"name": "Ann"}}, "parts": [{{"ring": {n}}}, {{"drum": 2}}]}}\n',
    "csv": '{n},"The dome, tall",Ann,12.5\n',
    "mail": "From a@x.org Mon Jan  1 10:00:00 2024\nFrom: a@x.org\nSubject: Dome {n}\n\nIt is tall.\n\n"
    "> Who measured\n> it?\n\n",
    "chat": "Ann: Who measured the dome {n}?\nBob: I did.\nIt is tall.\n",
    "subtitles": "{n}\n00:00:01,000 --> 00:00:02,000\nThe dome {n}\nis tall.\n\n",
    "latex": "\\section{{Dome {n}}}\nIts height is\n\\begin{{equation}}\nh = {n}\n\\end{{equation}}\n"
    "where $h$ is tall.\n\n",
}


@dataclass(frozen=True)
class Row:
    """One format; seconds by stage, megabytes."""

    format: str
    characters: int
    units: int
    split_seconds: float
    label_seconds: float
    choose_seconds: float
    first_seconds: float
    megabytes: int


def document(format_: Format, characters: int) -> str:
    """At least `characters` of this format."""
    sample = SAMPLES[format_]
    parts: list[str] = []
    size = number = 0
    while size < characters:
        parts.append(sample.format(n=number))
        size += len(parts[-1])
        number += 1
    return "".join(parts)


def measured(format_: Format, characters: int) -> Row:
    first = sum(_seconds(format_, document(format_, characters // 10))[1:])
    text = document(format_, characters)
    n_units, split_s, label_s, choose_s = _seconds(format_, text)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Row(format_, len(text), int(n_units), split_s, label_s, choose_s, first, megabytes)


def _seconds(format_: Format, text: str) -> tuple[float, float, float, float]:
    """How many units, and the processor time of splitting, labelling and choosing."""
    times = [time.process_time()]
    cut = SplitDocument(Document(text, format=format_), tuple(split_format(text, format_)))
    times.append(time.process_time())
    values = build_labeler("bm25").score(QUESTION, [cut]).probabilities
    times.append(time.process_time())
    for policy in (Policy(threshold=0.2), Policy(top_k=50), Policy(max_tokens=len(text) // 10)):
        choose(policy, [cut], values, len)
    times.append(time.process_time())
    split_s, label_s, choose_s = (after - before for before, after in zip(times, times[1:], strict=False))
    return len(cut.units), split_s, label_s, choose_s


def main() -> None:
    """Every format; append the record."""
    parser = argparse.ArgumentParser(description="Time and memory of pruning one long document in each format.")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help="other than the default is not recorded")
    parser.add_argument("--format", action="append", choices=FORMATS, help="only these; nothing is recorded then")
    options = parser.parse_args()
    rows: list[Row] = []
    for format_ in options.format or FORMATS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(measured, (format_, options.characters))
        print(row, flush=True)
        rows.append(row)
    if options.characters == CHARACTERS and not options.format:
        print(record("context_growth", rows))


if __name__ == "__main__":
    main()
