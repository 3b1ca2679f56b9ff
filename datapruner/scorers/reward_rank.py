"""The rank of a reward among the answers to one question, and which ranks to keep (PF-PPO, Zhang et al. 2024).

Rewards are most to be trusted at the ends of their range; policy filtration (arXiv:2409.06957) trains on answers of
some ranks only. With r the rank within the question, from 0 for its lowest reward to 1 for its highest, the strategies'
weights for N answers, and the scores that keep their answers first:

best          (1, 0, ..., 0)                        score = r
best_random   (1/2, 1/2(N-1), ..., 1/2(N-1))        score = 1 for the best, others drawn by uid in [0, 1)
best_worst    (1/2, 0, ..., 0, 1/2)                 score = |2 r - 1|

`strategy="auto"` takes the one with the largest coefficient of determination R^2 of a regression of the actual scores
on the rewards, weighted by the strategy, over all answers of `verified`: a corpus of answers whose actual score is
known, say by running their tests. Higher is kept first. Equal rewards are ranked by a hash of the uid; the one answer
to a question has the rank 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.corpus.uids import hash64, splitmix64
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State

STRATEGIES = ("best", "best_random", "best_worst")


@dataclass(frozen=True)
class RewardRank(Scorer):
    """Paper: Zhang et al. 2024, PF-PPO (arXiv:2409.06957); rank of a reward within its question, filtered.

    `question` names the field that answers to one question share, `reward` the one with the number; `verified` is a
    corpus with both and the actual score in `actual`.
    """

    question: str = "question"
    reward: str = "score"
    strategy: Literal["best", "best_random", "best_worst", "auto"] = "best_worst"
    verified: str | None = field(default=None, metadata=SECOND_CORPUS)
    actual: str = "actual"
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ()
    scores_by_number: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is kept first by the strategy; in [0, 1]"
    cost: ClassVar[str] = "a sort of the rewards"

    def check(self) -> None:
        if self.strategy not in (*STRATEGIES, "auto"):
            raise ValueError(f"reward_rank.strategy wants auto, {', '.join(STRATEGIES)}, got {self.strategy!r}")
        if (self.strategy == "auto") != (self.verified is not None):
            raise ValueError("reward_rank wants a verified corpus for the strategy auto, and for no other")
        if self.verified is not None:
            self._known.check()

    def fields(self) -> tuple[str, ...]:
        return (self.question,)

    def vectors(self) -> tuple[str, ...]:
        return (self.reward,)

    def identity(self) -> dict[str, str]:
        return {} if self.verified is None else {"verified": self._known.fingerprint()}

    def fit(self, corpus: Iterable[Batch]) -> State:
        parts = [
            (batch.rows, batch.keys, hash64(batch.fields[self.question]), self._numbers(batch.vectors[self.reward]))
            for batch in corpus
        ]
        empty = (np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.float32))
        rows, keys, questions, rewards = (np.concatenate(arrays) for arrays in zip(empty, *parts, strict=True))
        ranks, sizes = ranks_within(questions, rewards, splitmix64(keys, self.seed))
        order = np.argsort(rows)
        state = {"rank": ranks[order].astype(np.int32), "answers": sizes[order].astype(np.int32)}
        if self.strategy != "auto":
            return state
        return state | {"r_squared": self._r_squared()}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "rank" not in state:
            raise ValueError("reward_rank wants the state that fit(corpus) returned")
        ranks, sizes = state["rank"][batch.rows], state["answers"][batch.rows]
        strategy = STRATEGIES[int(state["r_squared"].argmax())] if self.strategy == "auto" else self.strategy
        share = 1 - ranks / (sizes - 1).clip(1)
        if strategy == "best":
            return share.astype(np.float32)
        if strategy == "best_worst":
            return np.abs(2 * share - 1).astype(np.float32)
        drawn = (splitmix64(batch.keys, self.seed + 1) >> np.uint64(40)) / 2**24
        return np.where(ranks == 0, 1, drawn).astype(np.float32)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`rank`: from 0 for the highest reward of the question; `answers`: how many it has; both int32."""
        return {"rank": state["rank"][batch.rows], "answers": state["answers"][batch.rows]}

    def _r_squared(self) -> np.ndarray:
        """R^2 of each of STRATEGIES on the verified corpus, float64 [3]."""
        known, parts = self._known, []
        for chunk in known.chunks():
            numbers = [self._numbers(known.vectors_of(chunk, name)) for name in (self.reward, self.actual)]
            parts.append((hash64(chunk.texts), hash64(chunk.uids), *numbers))
        questions, keys, rewards, actual = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        ranks, sizes = ranks_within(questions, rewards, splitmix64(keys, self.seed))
        return np.array([r_squared(rewards, actual, weights(name, ranks, sizes)) for name in STRATEGIES])

    @staticmethod
    def _numbers(vectors: np.ndarray) -> np.ndarray:
        if vectors.shape[1] != 1:
            raise ValueError(f"reward_rank wants one number a row, got lists of {vectors.shape[1]}")
        return vectors[:, 0]

    @property
    def _known(self) -> SecondCorpus:
        return SecondCorpus(
            self.verified or "", "reward_rank.verified", self.question, vectors=(self.reward, self.actual)
        )


def ranks_within(questions: np.ndarray, rewards: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each reward from 0 for the highest of its question, equal ones by `keys`, and the answers it has."""
    order = np.lexsort([keys, -rewards, questions])
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = questions[order[1:]] != questions[order[:-1]]
    starts = np.flatnonzero(begins)
    counts = np.diff(np.append(starts, len(order)))
    ranks, sizes = np.zeros(len(order), dtype=np.int64), np.zeros(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, counts)
    sizes[order] = np.repeat(counts, counts)
    return ranks, sizes


def weights(strategy: str, ranks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """How often the answer of each rank is taken, float64; they sum to 1 over the answers to a question."""
    is_best, is_worst = ranks == 0, ranks == sizes - 1
    if strategy == "best":
        return is_best.astype(np.float64)
    if strategy == "best_worst":
        return np.where(sizes == 1, 1, (is_best | is_worst) / 2)
    others = 1 / (2 * (sizes - 1)).clip(1)
    return np.where(sizes == 1, 1, np.where(is_best, 0.5, others))


def r_squared(rewards: np.ndarray, actual: np.ndarray, weight: np.ndarray) -> float:
    """R^2 of the weighted linear regression of `actual` on `rewards`; 0 where either does not vary."""
    weight = weight / weight.sum()
    x, y = rewards - weight @ rewards, actual - weight @ actual
    spread = (weight @ x**2) * (weight @ y**2)
    return float((weight @ (x * y)) ** 2 / spread) if spread > 0 else 0.0
