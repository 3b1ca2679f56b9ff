"""The entry: a question and documents in, the parts of the documents that the question needs out.

read -> split -> label -> choose -> spans. Every text that comes out is verbatim slices of what went in, joined
(`units.join`), and what went in is never changed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping

import numpy as np

from contextpruner.decisions.calibration import Calibration, calibrate_thresholds, calibration_of_model, gold_units
from contextpruner.decisions.labeling_setup import setup_of
from contextpruner.decisions.policy import Policy, Reason, choose, is_kept
from contextpruner.decisions.token_counter import TokenCounter, Tokenizer, count_checked, counter_of, estimate_tokens
from contextpruner.documents.document import Document, HasText, check_text, read_documents
from contextpruner.documents.format_detection import detect_format
from contextpruner.documents.questions import Example
from contextpruner.labeler import LABELERS, Labeler, Labels, build_labeler
from contextpruner.models.auto_labeler import labeler_for_model
from contextpruner.results.result import PrunedDocument, Result, Span
from contextpruner.units.join import join_kept
from contextpruner.units.sentence_splitter import SentenceSplitter, build_splitter
from contextpruner.units.split import SplitDocument, Splitter, split_format
from prunekernels import registry, spec


class ContextPruner:
    """Prunes documents for a question with one labeler and one splitter, given as objects or in their text form.

    A splitter of the user's own is a function that cuts a text into units; it cuts prose and Markdown only.
    """

    def __init__(
        self,
        labeler: str | Labeler = "bm25",
        *,
        splitter: str | Splitter = "rules",
        count_tokens: TokenCounter | Tokenizer = estimate_tokens,
        calibration: Calibration | None = None,
    ) -> None:
        self.labeler = build_labeler(labeler) if isinstance(labeler, str) else labeler
        if not isinstance(self.labeler, Labeler):
            raise ValueError(f"want a labeler or its text form, got {type(labeler).__name__}")
        self.splitter = build_splitter(splitter) if isinstance(splitter, str) else splitter
        self.count_tokens = counter_of(count_tokens)
        self.calibration = calibration
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
    ) -> ContextPruner:
        """A pruner with the model at the path or hub id `name`, and the labeler that reads such a model.

        Where the model comes with a threshold, `prune` needs no rule. Without a name: the best labeler that needs
        nothing downloaded, and a log line that says once which one that is. Other fields of a labeler want the
        labeler itself: `ContextPruner(Provence(name, packing="published"))`.
        """
        kind, model = labeler_for_model(name)
        labeler = registry.load(LABELERS, kind, Labeler)  # type: ignore[type-abstract]
        made = labeler() if model is None else labeler(model=model)  # type: ignore[call-arg]
        return cls(made, splitter=splitter, count_tokens=count_tokens, calibration=calibration)

    def prune(  # noqa: PLR0913 - the rules by their names
        self,
        question: str,
        documents: Iterable[str | Mapping[str, object] | HasText],
        policy: Policy | None = None,
        *,
        threshold: float | None = None,
        top_k: int | None = None,
        max_tokens: int | None = None,
        target_recall: float | None = None,
    ) -> Result:
        """Keep what `question` needs of `documents` under one rule, by default the labeler's own threshold.

        A document is a string, or a mapping or object with `text` and perhaps `id`, `title` and `format` (by
        default "text"; "html", "markdown" and "code" are read as such). What goes with a
        rule, dependencies and what to do where nothing passes, is a `Policy`. Raises ValueError before anything is
        labelled if the question is empty, a document is no text, two rules are given, or none and the labeler has no
        threshold of its own, or a target recall has no calibration that can promise it.
        """
        given = {"threshold": threshold, "top_k": top_k, "max_tokens": max_tokens, "target_recall": target_recall}
        rule = _policy(policy, given).or_threshold(self.labeler.default_threshold, _describe(self.labeler))
        reaching = self._reaching(rule.target_recall)
        cut = self._cut(question, documents)
        self.labeler.prepare()
        started = time.perf_counter()
        labels = self.labeler.score(question, cut)
        labelling_ms = (time.perf_counter() - started) * 1000
        reasons = choose(rule, cut, labels.probabilities, self.count_tokens, reaching)
        pruned = [self._pruned(index, cut[index], labels, reasons[index]) for index in range(len(cut))]
        return Result(question, tuple(pruned), rule, _describe(self.labeler), labelling_ms)

    def calibrate(self, examples: Iterable[Example]) -> Calibration:
        """Label questions whose gold is known; the result serves `target_recall`. Goes through `examples` once."""
        self.labeler.prepare()
        return calibrate_thresholds(setup_of(self.labeler, self.splitter), map(self._gold_probabilities, examples))

    def _gold_probabilities(self, example: Example) -> np.ndarray:
        cut = self._cut(example.question, example.documents)
        if len(example.gold) != len(cut):
            raise ValueError(f"want gold for each of {len(cut)} documents, got {len(example.gold)}")
        labels = self.labeler.score(example.question, cut)
        rows = zip(labels.probabilities, cut, example.gold, strict=True)
        return np.concatenate([values[gold_units(document, gold)] for values, document, gold in rows])

    def _reaching(self, target_recall: float | None) -> float | None:
        if target_recall is None:
            return None
        calibration = self.calibration or calibration_of_model(self.labeler)
        if calibration is None:
            raise ValueError(
                "target_recall wants a calibration: ContextPruner(..., calibration=pruner.calibrate(examples))"
            )
        return calibration.check(setup_of(self.labeler, self.splitter)).threshold(target_recall)

    def _cut(self, question: str, documents: Iterable[str | Mapping[str, object] | HasText]) -> list[SplitDocument]:
        """The documents in units, everything checked."""
        if not check_text("the question", question).strip():
            raise ValueError("want a question, got an empty text")
        cut = [self._split(document) for document in read_documents(documents)]
        for index, document in enumerate(cut):
            _check_partition(index, document)
        return cut

    def _split(self, document: Document) -> SplitDocument:
        """The document in units, and the format that it was read in."""
        splitter = self.splitter
        if not isinstance(splitter, SentenceSplitter):
            if document.format in ("text", "markdown"):
                return SplitDocument(document, tuple(splitter(document.text)))
            splitter = build_splitter("rules")
        format_ = detect_format(document.text, document.format)
        units = split_format(document.text, format_, splitter.max_characters, splitter.cut)
        return SplitDocument(dataclasses.replace(document, format=format_), tuple(units))

    def _pruned(self, index: int, document: SplitDocument, labels: Labels, reasons: list[Reason]) -> PrunedDocument:
        probabilities = labels.probabilities[index].tolist()
        spans = tuple(
            Span(unit.start, unit.end, probability, is_kept(reason), reason, unit.kind, unit.path, unit.text)
            for unit, probability, reason in zip(document.units, probabilities, reasons, strict=True)
        )
        source = document.document
        kept = join_kept(document.texts, (span.kept for span in spans))
        return PrunedDocument(
            id=source.id,
            title=source.title,
            format=source.format,
            original=source.text,
            spans=spans,
            score=float(labels.scores[index]),
            n_tokens_before=count_checked(self.count_tokens, "".join(document.texts)),
            n_tokens_after=count_checked(self.count_tokens, kept),
            metadata=source.metadata,
        )


def _describe(labeler: Labeler) -> str:
    """Its text form; a labeler of the user's own that is no dataclass has a name only."""
    return spec.describe(labeler) if dataclasses.is_dataclass(labeler) else type(labeler).__name__


def _policy(policy: Policy | None, given: Mapping[str, float | int | None]) -> Policy:
    if policy is None:
        return Policy(**given)  # type: ignore[arg-type]
    if any(value is not None for value in given.values()):
        raise ValueError(f"want a policy or one of {', '.join(given)}, got both")
    return policy


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
