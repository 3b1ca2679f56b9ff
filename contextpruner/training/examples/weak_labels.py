"""Gold for questions whose answer is known and whose sentences nobody marked.

    inclusion      units that hold the answer's terms in a row (STRINC of FilCo, Wang et al. 2023, arXiv:2311.08377)
    overlap        units with unigram F1(unit, question and answer) >= `least`: the lexical measure there
    leave_one_out  units u with  nll(answer | question, all units but u) - nll(answer | question, all units) > `margin`

The last is the margin by which an answer gets less likely without a unit, in nats a token of the answer, under a causal
language model (as LooComp measures it, arXiv:2603.09222). It costs a pass over all units for each of them. A document
is judged by itself, in the units of our own splitter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from contextpruner.models.batches import Row
from contextpruner.models.causal_lm import CausalLM
from contextpruner.models.document_tokens import encode_text
from contextpruner.training.examples.example import Spans, TrainingExample, merged
from contextpruner.units.split import split
from contextpruner.units.terms import terms

LEAST, MARGIN, BATCH = 0.5, 0.05, 8
# the texts of a document's units, question and answer in, bool [units] out
Judge = Callable[[Sequence[str], str, str], np.ndarray]


def label_by(judge: Judge, examples: Iterable[TrainingExample]) -> Iterator[TrainingExample]:
    """`examples` with the units that `judge` finds as gold; raises ValueError naming one without an answer."""
    for example in examples:
        if not example.answer.strip():
            raise ValueError(f"{example.id}: want a question with its answer, got none")
        gold = [_spans(judge, example, document.text) for document in example.documents]
        yield replace(example, gold=tuple(gold))


def _spans(judge: Judge, example: TrainingExample, text: str) -> Spans:
    units = [(unit.start, unit.end) for unit in split(text)]
    found = judge([text[start:end] for start, end in units], example.question, example.answer)
    return merged(unit for unit, is_gold in zip(units, found, strict=True) if is_gold)


def inclusion(units: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Which of `units` hold one of `answers`, bool [units]; an answer without terms is in none."""
    wanted = [own for own in map(terms, answers) if own]
    return np.array([any(_holds(own, one) for one in wanted) for own in map(terms, units)], bool)


def overlap(units: Sequence[str], question: str, answer: str, least: float = LEAST) -> np.ndarray:
    """Which of `units` share enough of their terms with question and answer, bool [units]."""
    wanted = Counter(terms(f"{question} {answer}"))
    found = []
    for text in units:
        own = Counter(terms(text))
        shared = (own & wanted).total()
        found.append(2 * shared / max(own.total() + wanted.total(), 1))
    return np.array(found) >= least


def leave_one_out(
    model: CausalLM, question: str, answer: str, units: Sequence[str], margin: float = MARGIN
) -> tuple[np.ndarray, np.ndarray]:
    """Which of `units` the answer hangs on, bool [units], and by how much, float64 [units].

    Raises ValueError where question, units and answer are longer than the model reads.
    """
    whole = range(len(units))
    kept = [whole, *([place for place in whole if place != left] for left in whole)]
    scored = encode_text(model.tokenizer, f" {answer}")[0]
    rows = []
    for places in kept:
        text = f"{''.join(units[place] for place in places).strip()}\nQuestion: {question}\nAnswer:"
        ids = (*model.first, *encode_text(model.tokenizer, text)[0], *scored)
        if len(ids) > model.window:
            raise ValueError(f"want at most {model.window} tokens, got {len(ids)}")
        rows.append((Row(ids, 0), len(scored)))
    nll = np.array(model.mean_nll(rows, BATCH))
    gain = nll[1:] - nll[0]
    return gain > margin, gain


def _holds(own: Sequence[str], wanted: Sequence[str]) -> bool:
    size = len(wanted)
    return any(own[at : at + size] == wanted for at in range(len(own) - size + 1))
