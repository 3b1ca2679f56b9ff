"""The two ways of asking say the same, every method has its place, and rows are what the marks say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.lvlm.assembly import assemble
from benchmarks.lvlm.export import export
from benchmarks.lvlm.features import SCALE, Standard
from benchmarks.lvlm.learner import new_learner
from benchmarks.lvlm.packing import Example, Seen, pack
from benchmarks.lvlm.questions import Question
from benchmarks.lvlm.retention import asking
from benchmarks.lvlm.retention.cases import LEFT_OUT, RANDOM_INSIDE, Case, cases, equal_flops, inside_tower
from benchmarks.lvlm.retention.costs import Costs, costs, equal_budget
from benchmarks.lvlm.retention.intervals import interval
from benchmarks.lvlm.retention.journal import Entry, Journal
from benchmarks.lvlm.retention.subject import Picture, Subject
from benchmarks.lvlm.retention.table import rows
from prunekernels import registry
from tests.lvlm.conftest import recipe_in
from tokenpruner.base.token_method import METHODS, method_from_text

QUESTIONS = tuple(
    [
        Question("region", "what is in the top left ?", name),
        Question("number", "what number is on the red sign ?", number),
    ]
    for name, number in (("cat", "4 7"), ("dog", "3 1"))
)


@pytest.fixture(scope="module")
def asked() -> list[Picture]:
    """Two pictures of other brightness and colours."""
    draw = torch.Generator().manual_seed(0)
    return [
        Picture(torch.randn(1, 3, 224, 224, generator=draw) + (-1) ** number, questions)
        for number, questions in enumerate(QUESTIONS)
    ]


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory, standard: Standard, asked: list[Picture]) -> Subject:
    """A model that has learned the answers by heart."""
    recipe = recipe_in(tmp_path_factory.mktemp("lvlm"))
    learner = new_learner(recipe)
    export(learner, recipe, standard, "card")
    made = Subject.load(assemble(recipe.model, recipe.tower, recipe.run.parent / "first"))
    examples = []
    for picture in asked:
        hidden = made.hidden(picture.pixels)[0, 1:].clone()
        features = (hidden - standard.mean) / standard.deviation * SCALE
        examples.append(Example(features, torch.zeros(256, 4, dtype=torch.uint8), picture.questions))
    optimizer = torch.optim.Adam(learner.parameters(), 5e-3)
    for step in range(60):
        left = torch.randperm(256, generator=torch.Generator().manual_seed(step))[:64].sort().values
        said = learner(pack(examples, [Seen(left, step % 2 == 0)] * 2))
        loss = cross_entropy(said.logits, said.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.7
    export(learner.eval(), recipe, standard, "card")
    return Subject.load(assemble(recipe.model, recipe.tower, recipe.run.parent / "whole"))


def test_packed_and_generated_say_the_same(
    subject: Subject, asked: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [
        Case(text, 0.11, positions)
        for text in ("random", "pool", "cdpruner", "visionzip")
        for positions in ("keep", "compact")
    ]
    marks = []
    for reads in (False, True):
        monkeypatch.setattr(asking, "reads_text", lambda method, reads=reads: reads and method is not None)
        marks.append([asking.ask(subject, case.method(), picture) for case in wanted[:4] for picture in asked])
    assert marks[0] == marks[1]
    flat = [one for own in marks[0] for one in own]
    assert any(flat)
    monkeypatch.undo()
    assert all(len(asking.ask(subject, case.method(), asked[0])) == 2 for case in wanted[4:])
    assert asking.ask(subject, None, asked[0]) == [True, True]


def test_a_chain_is_asked_as_its_methods_by_themselves(subject: Subject, asked: list[Picture]) -> None:
    # the second of each has nothing left to do
    pairs = {
        'chain:methods="stride:keep_ratio=0.11"/"pyramiddrop:n_stages=2,keep_ratio=1"': "stride:keep_ratio=0.11",
        'chain:methods="tome:keep_ratio=0.2"/"stride:keep_ratio=1"': "tome:keep_ratio=0.2",
    }
    for chain, alone in pairs.items():
        marks = [[asking.ask(subject, method_from_text(text), one) for one in asked] for text in (chain, alone)]
        assert marks[0] == marks[1]


def test_costs_are_those_of_what_is_left(subject: Subject, asked: list[Picture]) -> None:
    full, half, smaller, inside = (
        costs(subject, case.method(), [*asked, asked[0]])
        for case in (
            Case(),
            Case("stride", 0.5, "keep"),
            Case("downsample", 0.25, "compact"),
            Case(f"{RANDOM_INSIDE}:layer=1", 0.25, "keep"),
        )
    )
    assert (full.tokens, half.tokens, smaller.tokens, inside.tokens) == (256, 128, 64, 64)
    assert full.tower_gflop == half.tower_gflop > 3.5 * smaller.tower_gflop
    assert full.decoder_gflop > inside.decoder_gflop > half.decoder_gflop > smaller.decoder_gflop > 0
    assert 0.45 < half.kv_mb / full.kv_mb < 0.6


def test_a_method_inside_the_tower_costs_its_tower_once(subject: Subject, asked: list[Picture]) -> None:
    full, before, inside = (
        costs(subject, case.method(), [*asked, asked[0]])
        for case in (Case(), Case("stride", 0.5, "keep"), Case("tome", 0.5, "keep"))
    )
    assert inside.tokens == before.tokens == 128
    assert inside.decoder_gflop == pytest.approx(before.decoder_gflop, rel=1e-3)
    assert inside.tower_gflop < 0.95 * full.tower_gflop


def test_others_cost_as_much_at_equal_flops(subject: Subject, asked: list[Picture]) -> None:
    budgets = equal_budget(subject, 0.8, ["tome"])
    assert inside_tower() == ["random_patches", "tome", "zero_tprune"]
    compact = [case for case in equal_flops(0.8, budgets) if case.positions == "compact"]
    merging = next(case for case in compact if case.text.startswith("tome"))
    most, smaller, inside, merged = (
        costs(subject, case.method(), [*asked, asked[0]])
        for case in (Case("stride", 0.8, "compact"), *compact[:2], merging)
    )
    both = most.tower_gflop + most.decoder_gflop
    assert both > merged.tower_gflop + merged.decoder_gflop > 0.99 * both
    assert inside.decoder_gflop == pytest.approx(most.decoder_gflop, rel=0.02)
    assert smaller.tokens == budgets.n_smaller > 128
    assert smaller.tower_gflop + smaller.decoder_gflop <= both


def test_every_method_is_asked_or_left_out_for_a_reason() -> None:
    names = {case.text.partition(":")[0] for case in cases() if case.text}
    assert names - {RANDOM_INSIDE} == {*registry.names(METHODS)} - {*LEFT_OUT}
    for case in cases()[1:]:
        method = case.method()
        assert getattr(method, "positions", case.positions) == case.positions


def test_intervals_hold_the_share_and_narrow_with_the_pictures() -> None:
    few, many = ([[True, number % 4 > 0] for number in range(n)] for n in (20, 500))
    for marks in (few, many):
        low, high = interval(marks)
        assert low < 0.875 < high
    assert interval(many)[1] - interval(many)[0] < 0.5 * (interval(few)[1] - interval(few)[0])
    assert interval(few, few) == (1.0, 1.0)


def test_rows_are_what_the_journal_says(tmp_path: Path, asked: list[Picture]) -> None:
    journal, spent = Journal(tmp_path / "journal.jsonl", "own"), Costs(64, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    journal.add(Entry("full", "main", [[True, True], [True, False]], spent))
    journal.add(Entry("downsample 0.25 compact", "main", [[True, False], [False, False]], spent))
    journal.add(Entry("stride 0.25 keep", "main", [[False, True], [True, False]], spent))
    journal.add(Entry("pool 0.25 keep", "main", [], refused="cannot"))
    dataclasses.replace(journal, subject="other").add(Entry("full", "main", [[False, False]] * 2, spent))
    wanted = [Case(), Case("stride", 0.25, "keep"), Case("pool", 0.25, "keep")]
    full, stride, pool = rows(wanted, {"main": asked}, journal.entries())
    assert (full.accuracy, full.retention, full.region, full.number) == (0.75, 1.0, 1.0, 0.5)
    assert (stride.accuracy, stride.easy, stride.hard) == (0.5, 0.0, pytest.approx(2 / 3))
    assert stride.retention == pytest.approx(2 / 3)
    assert (stride.decoder_gflop, pool.accuracy, pool.refused) == (2.0, None, "cannot")
