"""Few-shot prompts out of Snips, Banking77, CLINC150 and the shorter rows of GSM8K, one for each seed.

Rows of the first three have `split`, `intent`, and `text` or `tokens`; GSM8K comes as `question` and `answer`, a file
for each split. Of sets with many intents each seed draws some, so that a prompt shows each of them. Shots and
development rows are of the training rows, held-out ones of the others, and no question stands in two of them.
"""

from __future__ import annotations

import json
import lzma
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contextpruner.prompts.prompt import Prompt, Shot

INTENTS = {"snips": "snips_slots", "banking77": "banking77", "clinc150": "clinc150"}
SETS = (*INTENTS, "gsm8k")
ASKED = {
    "snips": "Say what the user wants.",
    "banking77": "Say what the customer of the bank asks about.",
    "clinc150": "Say what the user wants.",
    "gsm8k": "Solve the problem step by step.",
}
# out of scope is no intent
NO_INTENT = "oos"
WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
CALCULATOR = re.compile(r"<<[^>]*>>")
# characters of a question and of an answer of GSM8K
SHORT = 140


@dataclass(frozen=True)
class Sizes:
    """How many intents a seed draws, shots, and rows of each kind."""

    intents: int
    shots: int
    development_rows: int
    held_out_rows: int


@dataclass(frozen=True)
class PromptSet:
    """What one seed has of a set; without labels answers are free."""

    prompt: Prompt
    labels: tuple[str, ...]
    development: tuple[Shot, ...]
    held_out: tuple[Shot, ...]


def prompt_set(name: str, folder: Path, sizes: Sizes, seed: int) -> PromptSet:
    """The set `name` out of the files in `folder`, drawn by `seed`."""
    draw = np.random.default_rng((seed, SETS.index(name)))
    if name == "gsm8k":
        train, test = (_short(folder / f"gsm8k_{split}.jsonl.xz") for split in ("train", "test"))
        labels: list[str] = []
        form = "Problem: {question}\nSolution:"
        shots, rest = _split(_shuffled(train, draw), sizes.shots)
    else:
        train, test = _intents(folder / f"{INTENTS[name]}.jsonl.xz")
        labels = sorted({shot.answer for shot in train})
        labels = sorted(draw.permutation(labels)[: sizes.intents].tolist())
        train, test = ([shot for shot in rows if shot.answer in labels] for rows in (train, test))
        form = "Sentence: {question}\nIntent:"
        shots, rest = _one_of_each(_shuffled(train, draw), sizes.shots)
    development, seen = rest[: sizes.development_rows], {shot.question for shot in (*shots, *rest)}
    held_out = [shot for shot in _shuffled(test, draw) if shot.question not in seen][: sizes.held_out_rows]
    prompt = Prompt(ASKED[name], form, tuple(shots))
    return PromptSet(prompt, tuple(labels), tuple(development), tuple(held_out))


def _read(path: Path) -> list[dict]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _intents(path: Path) -> tuple[list[Shot], list[Shot]]:
    """Rows to learn from and rows to judge by; an intent in words: "card_arrival", "PlayMusic" have two each."""
    found: dict[bool, dict[str, Shot]] = {True: {}, False: {}}
    for row in _read(path):
        if row["intent"] != NO_INTENT:
            text = row.get("text") or " ".join(row["tokens"])
            answer = " ".join(WORD.findall(row["intent"].replace("_", " "))).lower()
            found[row["split"] == "train"].setdefault(text, Shot(text, answer))
    return [*found[True].values()], [*found[False].values()]


def _short(path: Path) -> list[Shot]:
    """Rows of short questions and answers, without the calculator's marks."""
    rows = [(row["question"], CALCULATOR.sub("", row["answer"])) for row in _read(path)]
    short = [(question, answer) for question, answer in rows if max(len(question), len(answer)) <= SHORT]
    return [Shot(question, answer.replace("\n#### ", "\nThe answer is ") + ".") for question, answer in short]


def _shuffled(rows: Sequence[Shot], draw: np.random.Generator) -> list[Shot]:
    return [rows[place] for place in draw.permutation(len(rows))]


def _split(rows: list[Shot], n: int) -> tuple[list[Shot], list[Shot]]:
    return rows[:n], rows[n:]


def _one_of_each(rows: list[Shot], n: int) -> tuple[list[Shot], list[Shot]]:
    """The first `n` rows in turns of one of each answer, and the rest."""
    of_answer: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        of_answer[row.answer].append(place)
    turns = [places[turn] for turn in range(n) for places in of_answer.values() if turn < len(places)]
    chosen = turns[:n]
    return [rows[place] for place in chosen], [row for place, row in enumerate(rows) if place not in {*chosen}]
