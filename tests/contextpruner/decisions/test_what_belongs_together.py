"""What belongs together is kept together under every rule."""

import pytest

from contextpruner import ContextPruner, Document
from tests.contextpruner.decisions.format_cases import CELLS, JSON, LATEX, SETTINGS, TALK
from tests.contextpruner.decisions.introduced_cases import INTRODUCED
from tests.contextpruner.decisions.list_cases import LEAD_INS, NESTED, Case
from tests.contextpruner.decisions.table_cases import NO_ANSWERS, TABLES

CASES = [
    pytest.param(case, id=f"{kind}: {name}")
    for kind, cases in {
        "lead-in": LEAD_INS,
        "nested": NESTED,
        "introduced": INTRODUCED,
        "table": TABLES,
        "no answer": NO_ANSWERS,
        "json": JSON,
        "talk": TALK,
        "cells": CELLS,
        "latex": LATEX,
        "settings": SETTINGS,
    }.items()
    for name, case in cases.items()
]


def kept_text(case: Case, **rule: float) -> str:
    document = Document(case.text, format=case.format)
    return ContextPruner("bm25").prune(case.question, [document], **rule).documents[0].text  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES)
def test_the_default_keeps_what_belongs_to_the_answer(case: Case) -> None:
    got = kept_text(case)
    for part in case.kept:
        assert part in got


@pytest.mark.parametrize("case", CASES)
def test_the_best_unit_brings_what_belongs_to_it_and_nothing_else(case: Case) -> None:
    if not case.top_k:
        pytest.skip("more than one unit is asked for")
    got = kept_text(case, top_k=1)
    for part in case.kept:
        assert part in got
    for part in case.dropped:
        assert part not in got


@pytest.mark.parametrize("case", CASES)
def test_a_budget_for_just_that_holds_it(case: Case) -> None:
    if not case.top_k:
        pytest.skip("more than one unit is asked for")
    pruner = ContextPruner("bm25")
    document = Document(case.text, format=case.format)
    room = pruner.prune(case.question, [document], top_k=1).n_tokens_after
    result = pruner.prune(case.question, [document], max_tokens=room)
    assert result.n_tokens_after <= room
    for part in case.kept:
        assert part in result.documents[0].text
