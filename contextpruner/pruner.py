"""The entry: a question and documents in, the parts of the documents that the question needs out.

read -> split -> label -> choose -> spans. Every text that comes out is verbatim slices of what went in, joined
(`units.join`), and what went in is never changed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Unpack

import numpy as np

from contextpruner.decisions.calibration import (
    Calibration,
    Judged,
    calibrate_thresholds,
    calibration_of_model,
    gold_units,
    judge,
)
from contextpruner.decisions.closure import DEPENDENCIES, Dependency
from contextpruner.decisions.labeling_many import LabelingMany, chunks
from contextpruner.decisions.labeling_setup import setup_of
from contextpruner.decisions.policy import choose
from contextpruner.decisions.reorder import Ranking, best_documents
from contextpruner.decisions.rules import GivenRules, Policy
from contextpruner.decisions.token_counter import TokenCounter, Tokenizer, counter_of, estimate_tokens
from contextpruner.documents.cache import DocumentCache
from contextpruner.documents.document import (
    Document,
    DocumentsOfMany,
    Given,
    check_text,
    listed,
    lists_of_documents,
    read_documents,
)
from contextpruner.documents.format_detection import detect_format
from contextpruner.documents.questions import Example
from contextpruner.labeler import LABELERS, Labeler, Labels, build_labeler
from contextpruner.models.auto_labeler import default_labeler, labeler_for_model
from contextpruner.results.result import Result, pruned_document
from contextpruner.units.sentence_splitter import SentenceSplitter, build_splitter
from contextpruner.units.split import SplitDocument, Splitter, split_format
from prunekernels import registry, spec

# texts whose tokens are remembered while many questions are pruned
COUNTED = 4096

# a policy without open ends, and the threshold that a calibration gives it
Rules = tuple[Policy, float | None]


class ContextPruner:
    """Prunes documents for a question with one labeler and one splitter, given as objects or in their text form.

    Without a labeler it is the packaged model (`labelers/multilingual.py`), in 25 languages; "bm25" needs no model.
    A splitter of the user's own is a function that cuts a text into units; it cuts prose and Markdown only. With a
    `cache` units, terms and vectors of documents are kept from one call to the next; without one only within
    `prune_many`.
    """

    def __init__(
        self,
        labeler: str | Labeler | None = None,
        *,
        splitter: str | Splitter = "rules",
        count_tokens: TokenCounter | Tokenizer = estimate_tokens,
        calibration: Calibration | None = None,
        cache: DocumentCache | None = None,
    ) -> None:
        chosen = default_labeler() if labeler is None else labeler
        self.labeler = build_labeler(chosen) if isinstance(chosen, str) else chosen
        if not isinstance(self.labeler, Labeler):
            raise ValueError(f"want a labeler or its text form, got {type(labeler).__name__}")
        self.splitter = build_splitter(splitter) if isinstance(splitter, str) else splitter
        self.count_tokens = counter_of(count_tokens)
        self.calibration = calibration
        self.cache = cache
        if calibration is not None:
            calibration.check(setup_of(self.labeler, self.splitter))

    @classmethod
    def from_pretrained(
        cls,
        name: str | None = None,
        *,
        splitter: str | Splitter = "rules",
        count_tokens: TokenCounter | Tokenizer = estimate_tokens,
        calibration: Calibration | None = None,
        cache: DocumentCache | None = None,
    ) -> ContextPruner:
        """A pruner with the model at the path or hub id `name`, and the labeler that reads such a model.

        Where the model comes with a threshold, `prune` needs no rule. Without a name: the packaged model. Other fields
        of a labeler want the labeler itself: `ContextPruner(Provence(name, packing="published"))`.
        """
        kind, model = labeler_for_model(name)
        labeler = registry.load(LABELERS, kind, Labeler)  # type: ignore[type-abstract]
        made = labeler() if model is None else labeler(model=model)  # type: ignore[call-arg]
        return cls(made, splitter=splitter, count_tokens=count_tokens, calibration=calibration, cache=cache)

    def prune(
        self,
        question: str,
        documents: Iterable[Given],
        policy: Policy | None = None,
        **given: Unpack[GivenRules],
    ) -> Result:
        """Keep what `question` needs of `documents` under a policy, or rules by name; else the labeler's own threshold.

        The rules are `threshold`, `top_k`, `max_tokens` and `target_recall`; a `Policy` has more of them.

        A document is a string, or a mapping or object with `text` and perhaps `id`, `title`, `protected` and `format`
        (by default "text"; "html", "markdown" and "code" are read as such). Raises ValueError before anything is
        labelled if the question is empty, a document is no text, a threshold and a target recall are given, or no rule
        and the labeler has no threshold of its own, or a target recall has no calibration that can promise it; and
        behind that if a budget cannot hold what is protected.
        """
        rule, reaching = self._rule(policy, given)
        if self.cache is not None:
            read = read_documents(documents)
            return next(self._pruned_many([_question(question)], [read], [(rule, reaching)], self.cache))
        cut = self._cut(question, documents)
        self.labeler.prepare()
        started = time.perf_counter()
        labels = self.labeler.score(question, cut)
        labelling_ms = (time.perf_counter() - started) * 1000
        return self._result(question, cut, (rule, reaching), (labels, labelling_ms), self.count_tokens)

    def prune_many(
        self,
        questions: Iterable[str],
        documents: DocumentsOfMany,
        policy: Policy | Sequence[Policy] | None = None,
        **given: Unpack[GivenRules],
    ) -> list[Result]:
        """As `prune` for each of `questions`, about the same `documents` or, where these are lists, each about its own.

        Questions are labelled together, under one `policy` or each under its own, and what is known of a document
        whatever is asked is found once. The results are those of `prune`: the same bits, but up to float32 rounding
        where a model embeds the documents of all questions together. Raises ValueError as `prune` does, naming the
        question.
        """
        asked = [_question(question, f"question {index}") for index, question in enumerate(listed(questions))]
        rules = self._rules(policy, given, len(asked))
        lists = lists_of_documents(documents, len(asked))
        return list(self._pruned_many(asked, lists, rules, self.cache or DocumentCache()))

    async def prune_many_async(
        self,
        questions: Iterable[str],
        documents: DocumentsOfMany,
        policy: Policy | Sequence[Policy] | None = None,
        **given: Unpack[GivenRules],
    ) -> list[Result]:
        """`prune_many` in a thread of its own."""
        return await asyncio.to_thread(self.prune_many, questions, documents, policy, **given)

    def _pruned_many(
        self,
        questions: Sequence[str],
        lists: Sequence[Sequence[Document]],
        rules: Sequence[Rules],
        cache: DocumentCache,
    ) -> Iterator[Result]:
        """A result for each question under its rules, in their order."""
        if not questions:
            return
        self.labeler.prepare()
        # kept texts of one question are often those of another
        count_tokens = functools.lru_cache(COUNTED)(self.count_tokens)
        labeling = LabelingMany(self.labeler, self.splitter, cache)
        for start, end in chunks(lists):
            cuts = [
                [labeling.cut(index, document, self._split) for index, document in enumerate(documents)]
                for documents in lists[start:end]
            ]
            started = time.perf_counter()
            labels = labeling.score(questions[start:end], cuts)
            labelling_ms = (time.perf_counter() - started) * 1000 / (end - start)
            rows = zip(questions[start:end], cuts, rules[start:end], labels, strict=True)
            for question, cut, own, said in rows:
                bare = [document for _, document in cut]
                yield self._result(question, bare, own, (said, labelling_ms), count_tokens)

    def _rule(self, policy: Policy | None, given: GivenRules) -> Rules:
        """The policy, and the threshold of a calibration where it has a target recall."""
        rule = Policy.of(policy, given).or_threshold(self.labeler.default_threshold, _describe(self.labeler))
        return rule, self._reaching(rule)

    def _rules(self, policy: Policy | Sequence[Policy] | None, given: GivenRules, n_questions: int) -> list[Rules]:
        """The rules of each question."""
        if not isinstance(policy, list | tuple):
            return [self._rule(policy, given)] * n_questions  # type: ignore[arg-type]
        if len(policy) != n_questions:
            raise ValueError(f"want a policy for each of {n_questions} questions, got {len(policy)}")
        known = {own: self._rule(own, given) for own in policy}
        return [known[own] for own in policy]

    def _result(
        self,
        question: str,
        cut: list[SplitDocument],
        rules: Rules,
        labelled: tuple[Labels, float],
        count_tokens: TokenCounter,
    ) -> Result:
        """What is kept under `rules` by labels that took so many milliseconds."""
        (rule, reaching), (labels, labelling_ms) = rules, labelled
        if rule.reorder:
            best = best_documents(labels.scores, [document.document for document in cut])
            cut, labels = [cut[place] for place in best], labels.of_documents(best)
        ranking = Ranking(labels.scores, labels.vectors)
        reasons = choose(rule, cut, labels.probabilities, count_tokens, reaching, ranking)
        rows = zip(cut, labels.probabilities, labels.scores.tolist(), reasons, strict=True)
        pruned = [pruned_document(*row, count_tokens) for row in rows]
        said_by, note = labels.fallback or (_describe(self.labeler), "")
        return Result(question, tuple(pruned), rule, said_by, labelling_ms, note)

    def calibrate(self, examples: Iterable[Example], closure: tuple[Dependency, ...] = DEPENDENCIES) -> Calibration:
        """Label questions whose gold is known; the result serves `target_recall` with this closure, or more of it.

        Goes through `examples` once.
        """
        self.labeler.prepare()
        judged = (self._judged(example, closure) for example in examples)
        return calibrate_thresholds(setup_of(self.labeler, self.splitter), closure, judged)

    def _judged(self, example: Example, closure: tuple[Dependency, ...]) -> Judged:
        cut = self._cut(example.question, example.documents)
        if len(example.gold) != len(cut):
            raise ValueError(f"want gold for each of {len(cut)} documents, got {len(example.gold)}")
        gold = [gold_units(document, spans) for document, spans in zip(cut, example.gold, strict=True)]
        labels = self.labeler.score(example.question, cut)
        return judge(cut, labels.probabilities, np.concatenate(gold), closure)

    def _reaching(self, policy: Policy) -> float | None:
        """The threshold that a calibration gives for the policy's target recall, if it has one."""
        if policy.target_recall is None:
            return None
        calibration = self.calibration or calibration_of_model(self.labeler)
        if calibration is None:
            raise ValueError(
                "target_recall wants a calibration: ContextPruner(..., calibration=pruner.calibrate(examples))"
            )
        calibration.check(setup_of(self.labeler, self.splitter)).check_closure(policy.closure)
        return calibration.threshold(policy.target_recall)

    def _cut(self, question: str, documents: Iterable[Given]) -> list[SplitDocument]:
        """The documents in units, everything checked."""
        _question(question)
        return [self._split(index, document) for index, document in enumerate(read_documents(documents))]

    def _split(self, index: int, document: Document) -> SplitDocument:
        """The document in units, and the format that it was read in."""
        splitter = self.splitter
        if not isinstance(splitter, SentenceSplitter):
            if document.format in ("text", "markdown"):
                cut = SplitDocument(document, tuple(splitter(document.text)))
                _check_partition(index, cut)
                return cut
            splitter = build_splitter("rules")
        format_ = detect_format(document.text, document.format)
        units = split_format(document.text, format_, splitter.max_characters, splitter.cut)
        cut = SplitDocument(dataclasses.replace(document, format=format_), tuple(units))
        _check_partition(index, cut)
        return cut


def _question(question: object, name: str = "the question") -> str:
    if not check_text(name, question).strip():
        raise ValueError(f"want a question, got an empty text{'' if name == 'the question' else f' for {name}'}")
    return question  # type: ignore[return-value]


def _describe(labeler: Labeler) -> str:
    """Its text form; a labeler of the user's own that is no dataclass has a name only."""
    return spec.describe(labeler) if dataclasses.is_dataclass(labeler) else type(labeler).__name__


def _check_partition(index: int, document: SplitDocument) -> None:
    """A splitter of the user's own may lose or repeat text; then nothing here would be verbatim."""
    position = 0
    for unit in document.units:
        if unit.start != position or unit.end <= position:
            raise ValueError(
                f"document {index}: want units that partition the text, "
                f"got [{unit.start}, {unit.end}) at character {position}"
            )
        position = unit.end
    if position != len(document.document.text):
        raise ValueError(f"document {index}: want units up to {len(document.document.text)}, got {position}")
