"""Redundancy: near-equal units of several documents are kept once, the best-ranked of them.

    likeness(u, v)   |S(u) & S(v)| / |S(u) | S(v)|,  S(u) the pairs of neighbouring terms of u (its term, if it has one)

From the likeness that is asked for on, v is a copy of u where both stand in different documents, say it of the same
thing, and agree in all numbers and negations: "30 euros" is no copy of "40 euros", nor "is not safe" of "is safe". Of
the same thing: header, lead-in, caption, parent, headings and the antecedent of a pronoun have the same terms; only
the heading that a document begins with, its title, may differ. 1 asks for equal terms in the same order, whatever their
case and punctuation.

Candidates are found by shared rare pairs (prefix filtering, Chaudhuri et al. 2006), which misses none; of those that
share one the best-ranked `MOST` are compared, so that time stays linear in the number of units.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from contextpruner.units.split import SplitDocument
from contextpruner.units.terms import terms
from contextpruner.units.unit import introduced_by

MOST = 64
NEGATIONS = {
    "en": {"no", "not", "never", "none", "neither", "nor", "without", "cannot", "t"},
    "de": {"kein", "keine", "keinen", "keinem", "keiner", "nicht", "nie", "ohne"},
    "fr": {"ne", "pas", "jamais", "sans", "non", "ni"},
    "es, pt, it": {"nunca", "sin", "nao", "não", "nem", "sem", "mai", "senza"},
    "nl, sv": {"niet", "geen", "zonder", "inte", "ej", "utan"},
    "ru": {"не", "нет", "ни", "без"},
    "hi, ar": {"नहीं", "لا", "لم", "لن"},
}
NEGATION = frozenset().union(*NEGATIONS.values())
# in scripts whose terms are pairs of characters
NEGATING = frozenset("不没沒未無无非")
Context = tuple[tuple[str, ...], ...]
Pair = tuple[str, ...]


def copies(documents: Sequence[SplitDocument], ranked: Sequence[int], likeness: float) -> dict[int, int]:
    """Of the units `ranked`, counted through and best first, each copy with the unit that it is a copy of."""
    sizes = [len(document.units) for document in documents]
    edges = np.cumsum([0, *sizes]).tolist()
    document_of = np.repeat(np.arange(len(documents)), sizes).tolist()
    words = [[tuple(terms(text)) for text in document.texts] for document in documents]
    said = {unit: words[document_of[unit]][unit - edges[document_of[unit]]] for unit in ranked}
    pairs = {unit: _pairs(one) for unit, one in said.items()}
    common = Counter(pair for one in pairs.values() for pair in one)
    index: dict[tuple[Context, Pair], list[int]] = defaultdict(list)
    rank = {unit: place for place, unit in enumerate(ranked)}
    found: dict[int, int] = {}
    for unit in ranked:
        own = pairs[unit]
        if not own:
            continue
        at = document_of[unit]
        context = _context(documents[at], words[at], unit - edges[at])
        # two sets as alike as that share one of this many of their rarest
        rare = sorted(own, key=lambda pair: (common[pair], pair))
        prefix = rare[: len(own) - math.ceil(likeness * len(own) - 1e-9) + 1]
        near = {other for pair in prefix for other in index[context, pair][:MOST] if document_of[other] != at}
        nearest = sorted(near, key=rank.__getitem__)[:MOST]
        original = next((other for other in nearest if _is_copy(said[unit], said[other], likeness)), None)
        if original is not None:
            found[unit] = original
            continue
        for pair in prefix:
            index[context, pair].append(unit)
    return found


def _is_copy(one: Sequence[str], other: Sequence[str], likeness: float) -> bool:
    if one == other:
        return True
    if _binding(one) != _binding(other):
        return False
    mine, theirs = _pairs(one), _pairs(other)
    return likeness < 1 and len(mine & theirs) >= likeness * len(mine | theirs) - 1e-9


def _pairs(words: Sequence[str]) -> frozenset[Pair]:
    return frozenset(zip(words, words[1:], strict=False)) if len(words) > 1 else frozenset((word,) for word in words)


def _binding(words: Sequence[str]) -> list[str]:
    """What may not differ: terms with digits, and negations."""
    return [word for word in words if word in NEGATION or NEGATING & {*word} or any(map(str.isdigit, word))]


def _context(document: SplitDocument, words: Sequence[tuple[str, ...]], unit: int) -> Context:
    """The terms of what says what unit `unit` is about."""
    units, antecedent = document.units, document.units[unit].link("antecedent")
    naming = [other for other in introduced_by(units, unit) if other or units[0].kind != "heading"]
    return tuple(words[other] for other in [*naming, *([] if antecedent is None else [antecedent])])
