"""The two ways of asking say the same, every method has its place, and rows are what the marks say."""

from __future__ import annotations

import dataclasses
import time
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
from benchmarks.lvlm.retention.cases import (
    LEFT_OUT,
    RANDOM_INSIDE,
    Case,
    alike,
    cases,
    equal_flops,
    inside_tower,
    policies,
)
from benchmarks.lvlm.retention.costs import Costs, costs, equal_budget
from benchmarks.lvlm.retention.intervals import interval
from benchmarks.lvlm.retention.journal import MEASURED, Entry, Journal, Session
from benchmarks.lvlm.retention.repeats import Repeats, computed_once
from benchmarks.lvlm.retention.subject import Picture, Subject
from benchmarks.lvlm.retention.table import rows
from benchmarks.lvlm.retention.work import Asker, Setting, answers
from benchmarks.lvlm.sprites import Sprites
from benchmarks.lvlm.vocabulary import END, IDS, ids_of
from prunekernels import registry
from tests.lvlm.conftest import recipe_in
from tokenpruner import TokenMethod, prepare, prune
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
        marks.append([own for case in wanted[:4] for own in asking.ask(subject, [case.method()], asked)[0]])
    assert marks[0] == marks[1]
    flat = [one for own in marks[0] for one in own]
    assert any(flat)
    monkeypatch.undo()
    assert all(asking.ask(subject, [case.method()], asked[:1])[0] != [[]] for case in wanted[4:])
    assert asking.ask(subject, [None], asked)[0][0] == [True, True]


def plain(subject: Subject, method: TokenMethod | None, picture: Picture) -> list[bool]:
    """Each question by itself, through the whole model."""
    found = []
    for question in picture.questions:
        inputs = asking.prompt(asking.sized(method, picture.pixels), question.text)
        with prune(subject.whole, asking.hooked(method)):
            said = subject.whole.generate(**inputs, max_new_tokens=8, do_sample=False)
        wanted = [*ids_of(question.answer), IDS[END]]
        found.append(said[0, inputs["input_ids"].shape[1] :].tolist()[: len(wanted)] == wanted)
    return found


@pytest.mark.parametrize(
    "text",
    ["random", "pool", "visionzip", "prumerge", "downsample", "tome", "cdpruner", "fastv:layer=1", "dart:layer=1"],
)
def test_batches_are_answered_as_each_question_by_itself(subject: Subject, asked: list[Picture], text: str) -> None:
    methods = [Case(text, 0.05, positions).method() for positions in policies(text)]
    # another order, and two of a kind
    several = [asked[1], asked[0], asked[1]]
    assert asking.ask(subject, methods, several) == [[plain(subject, one, own) for own in several] for one in methods]


@pytest.mark.parametrize("text", ["stride", "visionzip", "prumerge", "holov", "tome"])
def test_what_enters_the_decoder_is_that_of_the_whole_model(subject: Subject, asked: list[Picture], text: str) -> None:
    for positions in ("keep", "compact"):
        keep, own = (Case(text, 0.25, name).method() for name in ("keep", positions))
        found = asking.placed(asking._prepared(subject, keep, asked), own)
        for row, picture in enumerate(asked):
            wanted = prepare(subject.whole, own, **asking.prompt(picture.pixels))
            assert torch.equal(found["position_ids"][row], wanted["position_ids"][0])
            torch.testing.assert_close(found["inputs_embeds"][row], wanted["inputs_embeds"][0])


def test_a_picture_goes_through_the_tower_once(subject: Subject, asked: list[Picture]) -> None:
    fresh, seen = dataclasses.replace(subject, encoded={}), []
    hook = fresh.whole.model.vision_tower.register_forward_hook(lambda *_: seen.append(1))
    for text in ("stride", "visionzip", "fastv:layer=1"):
        asking.ask(fresh, [Case(text, 0.25, "keep").method()], asked)
    hook.remove()
    assert len(seen) == 1


def test_prompts_about_one_picture_share_its_tokens(subject: Subject, asked: list[Picture]) -> None:
    pictures = [asked[0], dataclasses.replace(asked[1], questions=[*asked[1].questions, QUESTIONS[0][1]])]
    pixels = torch.stack([one.hidden for one in subject.seen(pictures)])
    inputs = asking.prompts(pictures, pixels)
    n_rows, length = inputs["input_ids"].shape
    starts = (inputs["attention_mask"] == 0).sum(1).tolist()
    repeats = Repeats.of([0, 0, 1, 1, 1], starts, length, 257)
    assert len(set(starts)) > 1
    assert len(repeats.first) == n_rows * length - 3 * 257
    gate = subject.given.model.language_model.layers[0].mlp.gate_proj
    sizes: list[int] = []
    hook = gate.register_forward_hook(lambda module, given, made: sizes.append(given[0].flatten(0, -2).shape[0]))
    # the same tokens in another row's place are no repeats, and seen to be none
    wrong = Repeats.of([0, 0, 0, 1, 1], starts, length, 257)
    with torch.inference_mode():
        wanted = subject.given(**inputs).logits
        real = inputs["attention_mask"].bool()
        for one in (repeats, wrong):
            with computed_once(subject.given, {(n_rows, length): one}, {}):
                torch.testing.assert_close(subject.given(**inputs).logits[real], wanted[real])
    hook.remove()
    assert sizes == [n_rows * length, len(repeats.first), n_rows * length]
    assert "forward" not in vars(subject.given.model.language_model.layers[0].mlp)


def test_a_chain_is_asked_as_its_methods_by_themselves(subject: Subject, asked: list[Picture]) -> None:
    # the second of each has nothing left to do
    pairs = {
        'chain:methods="stride:keep_ratio=0.11"/"pyramiddrop:n_stages=2,keep_ratio=1"': "stride:keep_ratio=0.11",
        'chain:methods="tome:keep_ratio=0.2"/"stride:keep_ratio=1"': "tome:keep_ratio=0.2",
    }
    for chain, alone in pairs.items():
        marks = [asking.ask(subject, [method_from_text(text)], asked) for text in (chain, alone)]
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
    journal.add(Entry("full", "main", [[True, True], [True, False]]))
    journal.add(Entry("downsample 0.25 compact", "main", [[True, False], [False, False]]))
    journal.add(Entry("stride 0.25 keep", "main", [[False, True], [True, False]]))
    journal.add(Entry("stride 0.25 keep", MEASURED, [], spent))
    journal.add(Entry("pool 0.25 keep", "main", [], refused="cannot"))
    dataclasses.replace(journal, subject="other").add(Entry("full", "main", [[False, False]] * 2, spent))
    wanted = [Case(), Case("stride", 0.25, "keep"), Case("pool", 0.25, "keep")]
    full, stride, pool = rows(wanted, {"main": asked}, journal.entries())
    assert (full.accuracy, full.retention, full.region, full.number) == (0.75, 1.0, 1.0, 0.5)
    assert (stride.accuracy, stride.easy, stride.hard) == (0.5, 0.0, pytest.approx(2 / 3))
    assert stride.retention == pytest.approx(2 / 3)
    assert (stride.decoder_gflop, pool.accuracy, pool.refused) == (2.0, None, "cannot")
    assert full.decoder_gflop is None


def test_a_journal_is_of_one_device_and_stands_a_cut_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", "own")
    journal.begin(Session({"device": "one"}, "code"))
    journal.add(Entry("full", "main", [[True]]))
    with open(journal.path, "a", encoding="utf-8") as file:
        file.write('{"case": "stride')
    journal.begin(Session({"device": "one"}, "other code"))
    journal.add(Entry("full", "small", [[False]]))
    assert {key: entry.right for key, entry in journal.entries().items()} == {
        ("full", "main"): [[True]],
        ("full", "small"): [[False]],
    }
    assert [one.sources for one in journal.sessions()] == ["code", "other code"]
    with pytest.raises(ValueError, match="made on one, this is two"):
        journal.begin(Session({"device": "two"}, "code"))


def test_cases_that_differ_in_positions_alone_go_together() -> None:
    own = alike(cases((0.5, 0.25)))
    assert sorted(case.name for group in own for case in group) == sorted(case.name for case in cases((0.5, 0.25)))
    sizes = {group[0].name: len(group) for group in own}
    assert (sizes["full"], sizes["tome 0.5 keep"], sizes["stride 0.25 keep"]) == (1, 2, 2)
    # inside the decoder what stays may hang on positions
    assert sizes["pyramiddrop 0.5 keep"] == sizes["pyramiddrop 0.5 compact"] == 1


def test_another_process_answers_as_this_one(tmp_path: Path, standard: Standard, sprites: Sprites) -> None:
    recipe = recipe_in(tmp_path)
    export(new_learner(recipe), recipe, standard, "card")
    assemble(recipe.model, recipe.tower, tmp_path / "whole")
    sprites.save(tmp_path / "sprites" / "test")
    setting = Setting(tmp_path / "whole", tmp_path / "sprites", "test", 2, "cpu", 1)
    first, far = Asker(setting), time.monotonic() + 1e6
    tasks = [([Case(text, 0.1, "keep")], "main") for text in ("random", "fastv:layer=9", "fastv:layer=1")]
    wanted = [*answers(first, setting, tasks, 1, far)]
    # one that does not fit says so
    assert [bool(entry.refused) for entry in wanted] == [False, True, False]
    # one task starts one process
    assert [*answers(first, setting, tasks[2:], 2, far)] == wanted[2:]
    assert not [*answers(first, setting, tasks, 1, 0.0), *answers(first, setting, tasks, 2, 0.0)]
    both = first.answered([Case("stride", 0.1, "keep"), Case("stride", 0.1, "nowhere")], "main")
    assert [bool(entry.refused) for entry in both] == [False, True]
