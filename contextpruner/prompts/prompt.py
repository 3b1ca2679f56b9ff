"""A few-shot prompt in its parts: an instruction, examples, and the form in which a question is asked.

    context = instruction, separator, and for each shot: its question in the form, its answer, separator
    prompt  = context, the row's question in the form;  what a model is to say is the row's answer

The context is what all rows share, and what is pruned. The form stays: it says where the answer begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contextpruner.documents.document import check_text
from contextpruner.documents.files import parse_line
from prunekernels.io.json_files import Fields

PLACE = "{question}"


@dataclass(frozen=True)
class Shot:
    """A question and its answer: an example in a prompt, or a row that a prompt is judged by."""

    question: str
    answer: str

    def __post_init__(self) -> None:
        check_text("question", self.question)
        if not check_text("answer", self.answer).strip():
            raise ValueError(f"want an answer that is not empty, got {self.answer!r}")


@dataclass(frozen=True)
class Prompt:
    """`question` is the form of a question, with "{question}" once; the separator stands behind every other part."""

    instruction: str = ""
    question: str = "Question: {question}\nAnswer:"
    shots: tuple[Shot, ...] = ()
    separator: str = "\n\n"

    def __post_init__(self) -> None:
        for name in ("instruction", "question", "separator"):
            check_text(name, getattr(self, name))
        if self.question.count(PLACE) != 1:
            raise ValueError(f"want a form of questions with {PLACE} once, got {self.question!r:.200}")

    @property
    def parts(self) -> list[tuple[int, str]]:
        """The context in order: the instruction, numbered -1, then the shots from 0, each with its separator."""
        first = [(-1, self.instruction + self.separator)] if self.instruction else []
        shots = [self.asked(shot.question) + self.said(shot.answer) + self.separator for shot in self.shots]
        return [*first, *enumerate(shots)]

    @property
    def context(self) -> str:
        """What stands before the question of every row."""
        return "".join(text for _, text in self.parts)

    def asked(self, question: str) -> str:
        """`question` in its form."""
        return self.question.replace(PLACE, question)

    def said(self, answer: str) -> str:
        """`answer` as it stands behind a question: a space lies between the two where the form has none."""
        return answer if self.question[-1:].isspace() else f" {answer}"


def read_rows(lines: Iterable[tuple[str, bytes]], most: int) -> list[Shot]:
    """Up to `most` rows from lines of JSON with `question` and `answer`; others of their fields are passed over.

    Raises ValueError with the place of what is wrong.
    """
    rows: list[Shot] = []
    for place, line in lines:
        if len(rows) == most:
            break
        held = Fields(parse_line(place, line), place)
        try:
            rows.append(Shot(held.text("question"), held.text("answer")))
        except ValueError as error:
            text = str(error)
            raise ValueError(text if text.startswith(place) else f"{place}: {text}") from None
    return rows
