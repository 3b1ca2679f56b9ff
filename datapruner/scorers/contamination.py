"""Contamination with evaluation sets: how much of a text stands in their examples, by word n-grams.

    score = tokens that lie in an n-gram which an evaluation example has too / tokens of the text

Higher is more contaminated. n = 13 as GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C); 8 as Llama 3
(arXiv:2407.21783), which tells the share of tokens as here. Texts are folded and cut into words as for near
duplicates (_words.py), and n-grams of scripts without spaces count letters. An evaluation example with fewer than
n words counts as a whole from `shortest` words on, else not at all: a question of three words is in every corpus.
n-grams that more than `most_examples` evaluation examples have are their boilerplate, and do not count.

The details tell which file of the evaluation sets covers the most tokens, and the example's place in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from datapruner.corpus.second_corpus import SECOND_CORPUS, SecondCorpus
from datapruner.scorers._copy_state import packed, unpacked
from datapruner.scorers._words import WORD, Grams, Tokens, covered_shares, runs, tokens
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State
from prunekernels.io.escape import one_line


@dataclass(frozen=True)
class Contamination(Scorer):
    """Paper: Brown et al. 2020, GPT-3 (arXiv:2005.14165); share of tokens in word n-grams of evaluation examples.

    `against` is a file, or a folder whose files are evaluation sets, with their texts in `against_text`.
    """

    against: str = field(default="", metadata=SECOND_CORPUS)
    against_text: str = "text"
    ngram: int = 13
    shortest: int = 5
    most_examples: int = 10

    direction: ClassVar[str] = "higher is more contaminated; in [0, 1]"
    cost: ClassVar[str] = "one pass over both corpora, a hash an n-gram"
    default_selector: ClassVar[str] = "threshold:maximum=0.5"

    def check(self) -> None:
        if min(self.ngram, self.shortest, self.most_examples) < 1:
            raise ValueError("contamination wants ngram, shortest and most_examples of at least 1")
        self._sets.check()

    def identity(self) -> dict[str, str]:
        return {"against": self._sets.fingerprint()}

    def fit(self, corpus: Iterable[Batch]) -> State:
        self.check()
        found = [np.zeros((0, 3), np.uint64)]
        starts, files, n = [], [], 0
        for chunk in self._sets.chunks():
            for block in tokens(chunk.texts):
                found += [np.unique(rows, axis=0) for rows in self._grams_of_examples(block, n + block.texts.start)]
            starts.append(n)
            files.append(chunk.file)
            n += len(chunk.texts)
        # rows of run length, hash and example: each once
        rows = np.unique(np.concatenate(found), axis=0)
        begins = np.flatnonzero(np.append(True, (np.diff(rows[:, :2].view(np.int64), axis=0) != 0).any(1))[: len(rows)])
        counts = np.diff(np.append(begins, len(rows)))
        rows = rows[begins[counts <= self.most_examples]]
        places = {"chunk_starts": np.array(starts, np.int64), "chunk_files": np.array(files, np.int64)}
        names = packed([one_line(name) for name in self._sets.file_names()])
        return {"parts": rows[:, 0], "hashes": rows[:, 1], "examples": rows[:, 2], **places, **names}

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "hashes" not in state:
            raise ValueError("contamination wants the state that fit(corpus) returned")
        scores = np.zeros(len(batch), np.float32)
        for block in tokens(batch.texts):
            ranges = [np.zeros((2, 0), np.int64)]
            for grams, at in _matches(block, state):
                ranges.append(np.stack([grams.first, grams.last])[:, at >= 0])
            scores[block.texts] = covered_shares(block, *np.concatenate(ranges, 1))
        return scores

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`set`: the file whose example has most of the row's n-grams, "" where none has any; `example`: the row
        of it, from 0, int64 or -1."""
        best = np.full(len(batch), -1, np.int64)
        for block in tokens(batch.texts):
            texts, examples = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
            for grams, at in _matches(block, state):
                owners = np.repeat(np.arange(len(block.sizes)), np.diff(grams.starts))
                texts.append(owners[at >= 0])
                examples.append(state["examples"][at[at >= 0]].astype(np.int64))
            pairs, counts = np.unique(
                np.stack([np.concatenate(texts), np.concatenate(examples)], 1), axis=0, return_counts=True
            )
            # the last one that is written is the one with most, the first example of equals
            order = np.lexsort([-pairs[:, 1], counts])
            best[pairs[order, 0] + block.texts.start] = pairs[order, 1]
        return self._named(best, state)

    def _named(self, examples: np.ndarray, state: State) -> dict[str, np.ndarray]:
        """The names of the files of `examples`, and their places in them."""
        sets, places = np.full(len(examples), "", dtype=object), np.full(len(examples), -1, np.int64)
        is_any = np.flatnonzero(examples >= 0)
        chunks = np.searchsorted(state["chunk_starts"], examples[is_any], "right") - 1
        files = state["chunk_files"][chunks]
        first_chunks = np.searchsorted(state["chunk_files"], files)
        sets[is_any] = unpacked(state, files)
        places[is_any] = examples[is_any] - state["chunk_starts"][first_chunks]
        return {"set": sets, "example": places}

    @property
    def _sets(self) -> SecondCorpus:
        return SecondCorpus(self.against, "contamination.against", self.against_text)

    def _grams_of_examples(self, block: Tokens, start: int) -> Iterator[np.ndarray]:
        """Run length, hash and number of the example of each n-gram, uint64 [m, 3]."""
        ends = block.sizes.cumsum()
        reach = np.concatenate([[0], block.parts.cumsum()])
        lengths = reach[ends] - reach[ends - block.sizes]
        wanted = np.minimum(lengths, self.ngram * WORD)
        wanted[(lengths < self.shortest * WORD)] = 0
        for parts in np.unique(wanted[wanted > 0]).tolist():
            grams = runs(block, parts)
            owners = np.repeat(np.arange(len(block.sizes)), np.diff(grams.starts))
            own = wanted[owners] == parts
            columns = [np.full(own.sum(), parts, np.uint64), grams.hashes[own], (owners[own] + start).astype(np.uint64)]
            yield np.stack(columns, 1)


def _matches(block: Tokens, state: State) -> Iterator[tuple[Grams, np.ndarray]]:
    """Runs of each length that evaluation examples have, and the place of each in the state, -1 of others."""
    for parts in np.unique(state["parts"]).tolist():
        low, high = np.searchsorted(state["parts"], [parts, parts + 1])
        known, grams = state["hashes"][low:high], runs(block, int(parts))
        at = np.searchsorted(known, grams.hashes)
        is_known = known[np.minimum(at, high - low - 1)] == grams.hashes
        yield grams, np.where(is_known, at + low, -1)
