"""The result of a tuning: each pruned prompt with its pieces, its cost, and its held-out score beside the other one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from contextpruner.prompts.candidate import Candidate
from contextpruner.prompts.pieces import Pieces
from contextpruner.prompts.verdict import Scores


@dataclass(frozen=True)
class Piece:
    """A slice of the full prompt; `part` is -1 for the instruction, else a shot's number; `reason` is empty if kept."""

    text: str
    part: int
    kept: bool
    reason: str


@dataclass(frozen=True)
class Baseline:
    """What needs no search: the full prompt, or nothing of it that may be dropped."""

    name: str
    tokens: int
    development: Scores
    held_out: Scores


@dataclass(frozen=True)
class TunedPrompt:
    """What one search came to at one length; `text` is the pruned context, the pieces that are kept as they stood.

    `evaluations` and `seconds` are the search's own; `front` has the best development score of each length that it
    scored on all rows. Differences are on held-out rows, paired; `by_lot` is random dropping at equal length there.
    """

    search: str
    max_tokens: int
    tokens: int
    evaluations: int
    seconds: float
    development: Scores
    held_out: Scores
    by_lot: Scores
    to_full: Scores
    to_random: Scores
    front: Mapping[int, float]
    pieces: tuple[Piece, ...]
    text: str

    @property
    def verdict(self) -> str:
        """In words: against random dropping at equal length, and against the full prompt."""
        random, full = self.to_random.main.word, self.to_full.main.word
        beats = {"better": "beats random dropping", "worse": "is worse than random dropping"}.get(
            random, "does not beat random dropping"
        )
        keeps = {"better": "is better than the full prompt", "worse": "is worse than the full prompt"}.get(
            full, "cannot be told from the full prompt"
        )
        return f"{beats} at equal length; {keeps}"


@dataclass(frozen=True)
class TuneResult:
    """All of it; `baselines` are the full prompt, then the empty one."""

    model: str
    objective: str
    has_labels: bool
    development_rows: int
    held_out_rows: int
    seed: int
    baselines: tuple[Baseline, ...]
    prompts: tuple[TunedPrompt, ...]

    def to_json(self) -> str:
        """With the verdict of each prompt in words."""
        held = dataclasses.asdict(dataclasses.replace(self, prompts=()))
        held["prompts"] = [
            {**dataclasses.asdict(dataclasses.replace(one, front={})), "front": dict(one.front), "verdict": one.verdict}
            for one in self.prompts
        ]
        return json.dumps(held, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def pieces_of(pieces: Pieces, candidate: Candidate) -> tuple[Piece, ...]:
    """Every piece, kept or with the reason why it is not."""
    kept = candidate.kept.tolist()
    return tuple(
        Piece(text, int(pieces.part[place]), kept[place], candidate.reasons.get(place, ""))
        for place, text in enumerate(pieces.texts)
    )
