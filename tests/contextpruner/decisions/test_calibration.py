"""The threshold of a target recall: worked by hand, held on new questions, refused where it cannot be promised."""

import functools
import json
import shutil
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from contextpruner import Calibration, ContextPruner, Document, Example, Policy, SplitDocument, split, split_html
from contextpruner.decisions.calibration import MOST, Judged, calibrate_thresholds, gold_units
from contextpruner.decisions.closure import DEPENDENCIES
from contextpruner.decisions.labeling_setup import LabelingSetup, setup_of
from contextpruner.labelers.bm25 import Bm25
from contextpruner.labelers.cross_encoder import CrossEncoder
from contextpruner.units.splitters.rules import Rules
from tests.contextpruner.tiny_models import save_tiny_model


def of_gold(rows: Iterable[np.ndarray]) -> Calibration:
    """A calibration of questions whose gold units have these probabilities, and one unit of 0 that is none."""
    judged = [
        Judged(
            np.append(row, 0).astype(np.float32), np.full(len(row) + 1, 10), np.append(np.ones(len(row), bool), False)
        )
        for row in rows
    ]
    return calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, judged)


def test_thresholds_by_hand() -> None:
    # losses: nothing below 0.25; a quarter of all at 0.5 (half of the first of two); 0.5 at 0.75; 0.75 at 1
    made = of_gold([np.array([0.25, 0.75]), np.array([]), np.array([0.5, 1.0])])
    assert made.n_questions == 2
    assert made.thresholds == (0.25, 0.5, 0.75, 1.0)
    assert made.losses == (0, 0.25, 0.5, 0.75)
    # (2 * loss + 1) / 3 <= 1 - recall
    assert made.threshold(0.66) == 0.25
    assert made.threshold(1 - 1.5 / 3) == 0.5
    assert made.threshold(1 - 1.4 / 3) == 0.25
    assert made.threshold(0.17) == 0.75
    with pytest.raises(
        ValueError, match=r"a recall of 0.9 wants a calibration of at least 9 questions, got 2, .* 0.667"
    ):
        made.threshold(0.9)


def test_nine_questions_are_enough_for_nine_tenths() -> None:
    rows = [np.array([value]) for value in np.linspace(0.1, 0.9, 9)]
    assert of_gold(rows).threshold(0.9) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="at least 9 questions, got 8"):
        of_gold(rows[1:]).threshold(0.9)


def test_equal_probabilities_are_kept_or_lost_together() -> None:
    made = of_gold([np.array([0.5, 0.5, 0.5])] * 30)
    assert made.thresholds == (0.5,)
    assert made.threshold(0.9) == 0.5


def test_the_promise_holds_on_new_questions() -> None:
    """Over many draws the mean recall reaches the target and is not far above it."""
    draw = np.random.default_rng(0)
    recalls = []
    for _ in range(400):
        questions = [draw.beta(4, 2, draw.integers(1, 4)).astype(np.float32) for _ in range(80)]
        threshold = of_gold(questions[:60]).threshold(0.8)
        recalls += [float((row >= np.float32(threshold)).mean()) for row in questions[60:]]
    # 8,000 questions in 400 sets: the standard error is about 0.004
    assert 0.79 < np.mean(recalls) < 0.84


def test_many_gold_units_are_stored_as_some() -> None:
    values = np.random.default_rng(1).random(5000).astype(np.float32)
    made = of_gold([np.array([value]) for value in values])
    assert len(made.thresholds) == MOST
    exact = np.sort(values)[int(5001 * 0.1 - 1)]
    # the stored one below it: a little lower, never higher
    assert exact - 0.002 < made.threshold(0.9) <= exact


def test_gold_is_any_unit_that_shares_a_letter() -> None:
    text = "One. Two.  Three."
    document = SplitDocument(Document(text), tuple(split(text)))
    assert document.texts == ["One. ", "Two.  ", "Three."]
    assert gold_units(document, [(5, 8)]).tolist() == [False, True, False]
    assert gold_units(document, [(4, 6), (16, 17)]).tolist() == [False, True, True]
    # only the white space between two
    assert gold_units(document, [(9, 11)]).tolist() == [False, False, False]
    assert gold_units(document, []).tolist() == [False] * 3
    for span in ((-1, 2), (3, 3), (0, 18)):
        with pytest.raises(ValueError, match="want gold characters within"):
            gold_units(document, [span])


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


def test_the_threshold_is_that_of_conformal_risk_control_in_exact_fractions() -> None:
    """n / (n + 1) * mean loss + 1 / (n + 1) <= 1 - recall, tried for every threshold there is."""
    draw = np.random.default_rng(3)
    for _ in range(40):
        n = int(draw.integers(1, 30))
        rows = [draw.integers(1, 9, draw.integers(1, 5)).astype(np.float32) / 8 for _ in range(n)]
        made = of_gold(rows)
        for recall in (Fraction(1, 2), Fraction(2, 3), Fraction(4, 5), Fraction(9, 10), Fraction(19, 20)):
            fitting = []
            for threshold in sorted({float(value) for row in rows for value in row}):
                lost = sum(Fraction(int((row < threshold).sum()), len(row)) for row in rows)
                if Fraction(n, n + 1) * (lost / n) + Fraction(1, n + 1) <= 1 - recall:
                    fitting.append(threshold)
            if fitting:
                assert made.threshold(float(recall)) == fitting[-1]
            else:
                with pytest.raises(ValueError, match="wants a calibration of at least"):
                    made.threshold(float(recall))


def test_markup_is_never_gold() -> None:
    text = "<p>Tall dome.</p><hr><p>Bread.</p>"
    document = SplitDocument(Document(text), tuple(split_html(text)))
    gold = gold_units(document, [(0, len(text))])
    assert [unit.kind for unit, is_gold in zip(document.units, gold, strict=True) if is_gold] == ["sentence"] * 2
    # with all that can be kept, nothing is lost
    pruner = ContextPruner("bm25", splitter=split_html)
    made = pruner.calibrate(Example("dome bread", [text], [[(0, len(text))]]) for _ in range(20))
    kept = ContextPruner("bm25", splitter=split_html, calibration=made).prune("dome bread", [text], target_recall=0.9)
    assert "Tall dome." in kept.documents[0].text
    assert "Bread." in kept.documents[0].text


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


def test_recall_kept_share_and_coverage_by_hand() -> None:
    # of 100 characters 10 and 20 are gold, and 10 of the second question's 50
    first = Judged(np.float32([0.5, 0.25, 0.75, 0.1]), np.array([10, 20, 30, 40]), np.array([True, True, False, False]))
    second = Judged(np.float32([0.75, 0.5]), np.array([10, 40]), np.array([True, False]))
    made = calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, [first, second])
    assert made.gold == pytest.approx((0.3 + 0.2) / 2)
    assert made.thresholds == (0.25, 0.5, 0.75)
    assert made.losses == pytest.approx((0, 0.25, 0.5))
    assert made.kept == pytest.approx((0.8, 0.7, 0.25))
    assert made.coverage == (1, 0.5, 0.5)
    promise = made.promise(0.5)
    assert (promise.threshold, promise.recall, promise.coverage) == (0.5, 0.75, 0.5)
    assert promise.kept == pytest.approx(0.7)


def test_what_keeps_nearly_all_is_refused_with_a_way_out() -> None:
    # one in five gold units is found by no word: to keep it is to keep all
    rows = [(0.0 if number % 5 == 0 else 0.5) for number in range(100)]
    sizes, gold = np.array([10, 90]), np.array([True, False])
    judged = [Judged(np.float32([value, 0.2]), sizes, gold) for value in rows]
    made = calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, judged)
    assert made.promise(0.75).kept == pytest.approx(0.08)
    assert made.highest_recall == 0.792
    with pytest.raises(
        ValueError, match=r"recall of 0.95 would keep 100.0 % of the text: want a recall of at most 0.792"
    ):
        made.threshold(0.95)
    made.threshold(0.792)
    blind = [Judged(np.float32([0.5, 0.5]), sizes, gold)] * 100
    made = calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, blind)
    assert made.highest_recall == 0
    with pytest.raises(ValueError, match="of the text: want another labeler or model"):
        made.threshold(0.5)
    # where everything is gold, to keep it is right
    whole = [Judged(np.float32([0.5, 0.5]), sizes, np.array([True, True]))] * 100
    assert calibrate_thresholds(LabelingSetup("x"), DEPENDENCIES, whole).threshold(0.9) == 0.5


def test_a_heading_that_is_gold_counts_as_kept_where_closure_keeps_it() -> None:
    def with_heading(number: int) -> Example:
        text = f"# Dome {number}\n\nThe dome number {number} is tall.\n\n# Bread\n\nBread is baked.\n"
        return Example(f"How tall is dome number {number}?", [text], [[(0, 20)]])

    pruner = ContextPruner("bm25")
    made = pruner.calibrate(with_heading(number) for number in range(20))
    asked = with_heading(30)
    kept = ContextPruner("bm25", calibration=made).prune(asked.question, asked.documents, target_recall=0.9)
    assert kept.documents[0].text == "# Dome 30\n\nThe dome number 30 is tall.\n\n"
    bare = pruner.calibrate((with_heading(number) for number in range(20)), closure=())
    with pytest.raises(ValueError, match="a recall of 0.9 would keep 100.0 %"):
        bare.threshold(0.9)
    without = Policy(target_recall=0.9, closure=("header",))
    with pytest.raises(
        ValueError, match="want a closure of all that the calibration was made with, got one without sp"
    ):
        ContextPruner("bm25", calibration=made).prune(asked.question, asked.documents, without)
