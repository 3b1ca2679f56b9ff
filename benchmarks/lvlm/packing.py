"""All questions about a picture in one sequence, each of which sees the picture and itself: what training reads.

    user | patches | question 1, answer 1 | question 2, answer 2 | ...

Positions begin anew behind the picture for each question, so that each is at the place where it would be alone, and its
logits are those that it would have alone. Patches that a step leaves out are gone from the sequence; those that stay
have the positions of the whole picture ("keep") or new ones without gaps ("compact").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.lvlm.questions import Question
from benchmarks.lvlm.vocabulary import ASSISTANT, END, IDS, PAD, USER, ids_of

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """A picture: stored `features` int8 [patches, D], `labels` uint8 [patches, 4], and what is asked."""

    features: torch.Tensor
    labels: torch.Tensor
    questions: Sequence[Question]


@dataclass(frozen=True)
class Seen:
    """Which patches of a picture are left, ascending, and whether their positions close up."""

    patches: torch.Tensor
    is_compact: bool = False


@dataclass(frozen=True)
class Packed:
    """A batch of B pictures of P patches with at most L tokens of text; S = 1 + P + L.

    `features` int8 [B, P, D], `labels` uint8 [B, P, 4], `text` int64 [B, 1 + L] (the first stands before the picture),
    `positions` int64 [B, S], `question` int64 [B, S] (0: the picture, from 1 on which one, -1: padding),
    `targets` int64 [B, S]: the token that follows where it is one of an answer, else -100.
    """

    features: torch.Tensor
    labels: torch.Tensor
    text: torch.Tensor
    positions: torch.Tensor
    question: torch.Tensor
    targets: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """Who sees whom, bool [B, 1, S, S]."""
        return block_mask(self.question)


@dataclass(frozen=True)
class Asked:
    """Questions and answers in one line of L tokens, int64 [L] each, as `Packed` has them."""

    text: torch.Tensor
    positions: torch.Tensor
    question: torch.Tensor
    targets: torch.Tensor


def block_mask(question: torch.Tensor) -> torch.Tensor:
    """Who sees whom where token s of row b belongs to `question` [B, S]: itself and what is before it, of its own."""
    n = question.shape[1]
    is_seen = (question[:, None, :] == 0) | (question[:, None, :] == question[:, :, None])
    return (is_seen & torch.ones(n, n, dtype=torch.bool, device=question.device).tril())[:, None]


def asked_behind(questions: Sequence[Question], behind: int) -> Asked:
    """Each question with its answer, from position `behind` on."""
    text: list[int] = []
    positions: list[int] = []
    numbers: list[int] = []
    targets: list[int] = []
    for number, one in enumerate(questions, 1):
        asked, told = [*ids_of(one.text), IDS[ASSISTANT]], [*ids_of(one.answer), IDS[END]]
        tokens = asked + told[:-1]
        text += tokens
        positions += range(behind, behind + len(tokens))
        numbers += [number] * len(tokens)
        targets += [IGNORED] * (len(asked) - 1) + told
    return Asked(*(torch.tensor(own) for own in (text, positions, numbers, targets)))


def pack(examples: Sequence[Example], seen: Sequence[Seen]) -> Packed:
    """Pictures with equally many patches left."""
    rows = [_row(example, own) for example, own in zip(examples, seen, strict=True)]
    fills = (IDS[PAD], 0, -1, IGNORED)
    text, positions, question, targets = (
        torch.nn.utils.rnn.pad_sequence([row[n] for row in rows], batch_first=True, padding_value=fill)
        for n, fill in enumerate(fills)
    )
    features, labels = (
        torch.stack([getattr(one, name)[own.patches] for one, own in zip(examples, seen, strict=True)])
        for name in ("features", "labels")
    )
    return Packed(features, labels, text, positions, question, targets)


def _row(example: Example, seen: Seen) -> tuple[torch.Tensor, ...]:
    n_left = len(seen.patches)
    places = torch.arange(n_left) if seen.is_compact else seen.patches
    asked = asked_behind(example.questions, 1 + (n_left if seen.is_compact else len(example.features)))
    before = torch.zeros(1 + n_left, dtype=torch.int64)
    return (
        torch.cat([torch.tensor([IDS[USER]]), asked.text]),
        torch.cat([before[:1], places + 1, asked.positions]),
        torch.cat([before, asked.question]),
        torch.cat([before + IGNORED, asked.targets]),
    )
