"""However questions are asked, packed, batched, generated or by another process, the answers are the same."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
import torch

from benchmarks.lvlm.assembly import assemble
from benchmarks.lvlm.export import export
from benchmarks.lvlm.features import Standard
from benchmarks.lvlm.learner import new_learner
from benchmarks.lvlm.retention import asking
from benchmarks.lvlm.retention.cases import POSITIONS, Case, cases, policies
from benchmarks.lvlm.retention.repeats import Repeats, computed_once
from benchmarks.lvlm.retention.subject import Picture, Subject
from benchmarks.lvlm.retention.work import Asker, Setting, answers
from benchmarks.lvlm.sprites import Sprites
from benchmarks.lvlm.vocabulary import END, IDS, ids_of
from tests.lvlm.conftest import QUESTIONS, recipe_in
from tokenpruner import TokenMethod, prepare, prune
from tokenpruner.base.token_method import method_from_text


def test_packed_and_generated_say_the_same(
    subject: Subject, asked: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [Case(text, 0.11, positions) for text in ("random", "pool", "visionzip") for positions in POSITIONS]
    marks = []
    for reads in (False, True):
        monkeypatch.setattr(asking, "reads_text", lambda method, reads=reads: reads and method is not None)
        marks.append([own for case in wanted for own in asking.ask(subject, [case.method()], asked)[0]])
    assert marks[0] == marks[1]
    flat = [one for own in marks[0] for one in own]
    assert any(flat)
    monkeypatch.undo()
    assert asking.ask(subject, [None], asked)[0][0] == [True, True]


def test_every_case_at_equal_tokens_fits_the_decoder(tmp_path: Path, standard: Standard, asked: list[Picture]) -> None:
    recipe = recipe_in(tmp_path)
    recipe = dataclasses.replace(recipe, decoder=dataclasses.replace(recipe.decoder, layers=4))
    export(new_learner(recipe), recipe, standard, "card")
    subject = Subject.load(assemble(recipe.model, recipe.tower, tmp_path / "whole"))
    # a ValueError would stand in the table as a refusal
    for case in cases((0.11,)):
        assert len(asking.ask(subject, [case.method()], asked[:1])[0][0]) == 2


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
