"""A calibration from examples by way of a file to a pruned question; those of other pruners are refused."""

import functools
import json
import shutil
from pathlib import Path

import pytest

from contextpruner import Calibration, ContextPruner, Example, Policy, split, split_html
from contextpruner.decisions.labeling_setup import LabelingSetup, setup_of
from contextpruner.labelers.bm25 import Bm25
from contextpruner.labelers.cross_encoder import CrossEncoder
from contextpruner.units.splitters.rules import Rules
from tests.contextpruner.tiny_models import save_tiny_model


def example(number: int) -> Example:
    text = f"The dome number {number} is tall. Bread is baked. Nothing more."
    return Example(f"How tall is dome number {number}?", [text, "Else."], [[(0, 10)], []])


def test_from_examples_to_a_pruned_question(tmp_path: Path) -> None:
    made = ContextPruner("bm25").calibrate(example(number) for number in range(20))
    made.save(tmp_path / "c.json")
    pruner = ContextPruner("bm25", calibration=Calibration.load(tmp_path / "c.json"))
    assert pruner.calibration == made
    result = pruner.prune("How tall is dome number 30?", example(30).documents, target_recall=0.9)
    assert [span.reason for span in result.documents[0].spans] == ["threshold", "below_threshold", "below_threshold"]
    threshold = made.threshold(0.9)
    same = pruner.prune("How tall is dome number 30?", example(30).documents, threshold=threshold)
    assert same.documents == result.documents
    assert result.policy == Policy(target_recall=0.9)


def test_what_does_not_fit_is_refused_before_anything_is_labelled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="target_recall wants a calibration"):
        ContextPruner("bm25").prune("q", ["A."], target_recall=0.9)
    made = ContextPruner("bm25").calibrate([example(1)])
    with pytest.raises(ValueError, match="want a calibration of lead on units of rules, got one of bm25 on units"):
        ContextPruner("lead", calibration=made)
    with pytest.raises(ValueError, match="at least 9 questions, got 1"):
        ContextPruner("bm25", calibration=made).prune("q", ["A."], target_recall=0.9)
    with pytest.raises(ValueError, match="want gold for each of 2 documents, got 1"):
        ContextPruner("bm25").calibrate([Example("q", ["A.", "B."], [[]])])
    with pytest.raises(ValueError, match="want at least one question with a gold unit"):
        ContextPruner("bm25").calibrate([Example("q", ["A."], [[]])])
    for recall in (0, 1, 1.5, float("nan"), "0.9", True):
        with pytest.raises(ValueError, match="target_recall wants a number in"):
            Policy(target_recall=recall)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"closure": ["headings"]},
        {"closure": None},
        {"gold": 2},
        {"kept": [0.4, 0.8]},
        {"kept": [0.4]},
        {"coverage": [0.4, 0.8]},
        {"origin": {"name": "bm25"}},
        {"origin": "bm25"},
        {"thresholds": [0.2, float("nan")]},
        {"thresholds": [0.5, 0.2]},
        {"losses": [0.5, 0.2]},
        {"losses": [0.5]},
        {"losses": [0.5, 1.5]},
        {"thresholds": ["a", "b"]},
        {"n_questions": 0},
        {"n_questions": None},
    ],
)
def test_files_that_are_no_calibration_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    origin = {"labeler": "bm25", "model": None, "splitter": "rules"}
    columns = {"thresholds": [0.2, 0.5], "losses": [0.0, 0.5], "kept": [0.8, 0.4], "coverage": [1.0, 0.5]}
    held = {"format": 3, "origin": origin, "closure": ["heading"], "n_questions": 2, "gold": 0.1} | columns
    path = tmp_path / "c.json"
    path.write_text(json.dumps(held))
    assert Calibration.load(path).losses == (0, 0.5)
    path.write_text(json.dumps(held | change))
    with pytest.raises(ValueError, match="c.json: want a calibration of format 3"):
        Calibration.load(path)
    for text in ("", "[]", "{}", "x"):
        path.write_text(text)
        with pytest.raises(ValueError, match="c.json: want a calibration of format 3"):
            Calibration.load(path)


def test_an_origin_is_all_that_changes_what_is_said() -> None:
    origin = setup_of(Bm25(), Rules())
    assert origin == LabelingSetup("bm25", None, "rules")
    assert str(origin) == "bm25 on units of rules"
    assert setup_of(Bm25(k1=2.0), Rules()) != origin
    assert setup_of(Bm25(), Rules(max_characters=200)) == LabelingSetup("bm25", None, "rules:max_characters=200")
    assert setup_of(Bm25(), split) == LabelingSetup("bm25", None, "split")
    short = functools.partial(split, max_characters=90)
    assert setup_of(Bm25(), short) == LabelingSetup("bm25", None, "split(max_characters=90)")
    encoder = setup_of(CrossEncoder("some/where", batch_size=3, device="cpu"), split)
    assert (
        encoder == setup_of(CrossEncoder("some/where"), split) == LabelingSetup("cross_encoder", "some/where", "split")
    )
    assert str(encoder) == "cross_encoder with some/where on units of split"
    assert encoder != setup_of(CrossEncoder("else/where"), split)


def test_another_splitter_is_refused() -> None:
    made = ContextPruner("bm25").calibrate(example(number) for number in range(20))
    with pytest.raises(ValueError, match="want a calibration of bm25 on units of split_html, got one of bm25 on units"):
        ContextPruner("bm25", splitter=split_html, calibration=made)


def test_a_calibration_goes_with_the_folder_of_its_model(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    folder = save_tiny_model("cross_encoder", tmp_path / "here")
    pruner = ContextPruner.from_pretrained(str(folder))
    with pytest.raises(ValueError, match="target_recall wants a calibration"):
        pruner.prune("q", ["A."], target_recall=0.8)
    made = pruner.calibrate(example(number) for number in range(20))
    made.save(folder)
    assert str(tmp_path) not in (folder / "calibration.json").read_text()
    assert Calibration.load(folder) == made
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    again = ContextPruner.from_pretrained(str(moved))
    result = again.prune("How tall is dome number 3?", example(3).documents, target_recall=0.8)
    same = again.prune("How tall is dome number 3?", example(3).documents, threshold=made.threshold(0.8))
    assert [item.spans for item in result.documents] == [item.spans for item in same.documents]
    # the labeler's own fields and the splitter have to be those of the calibration, the batch size need not
    ContextPruner(CrossEncoder(str(moved), batch_size=1)).prune("q", ["A."], target_recall=0.8)
    for other in (
        ContextPruner(CrossEncoder(str(moved), use_title=False)),
        ContextPruner.from_pretrained(str(moved), splitter=split_html),
    ):
        with pytest.raises(ValueError, match="want a calibration of cross_encoder"):
            other.prune("q", ["A."], target_recall=0.8)
        other.prune("q", ["A."], threshold=0.8)
