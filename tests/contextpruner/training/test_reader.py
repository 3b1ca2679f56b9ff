"""A reader in the loop, against the logits of a tiny model on prompts that are written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from contextpruner.documents.document import Document
from contextpruner.labeler import build_labeler
from contextpruner.models.causal_lm import CausalLM, load_causal_lm
from contextpruner.training.evaluation.curves import Cut
from contextpruner.training.evaluation.judging import judged_questions
from contextpruner.training.evaluation.questions import cut_questions
from contextpruner.training.evaluation.reader import read_by
from contextpruner.training.examples.example import TrainingExample
from tests.contextpruner import tiny_checkpoints

DOCUMENTS = (Document("Ana made it. It rained.", title="Dome"), Document("Nobody came."))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return load_causal_lm(str(tiny_checkpoints.causal_lm(tmp_path_factory.mktemp("lm"))), "float32", "cpu", 200)


def example(name: str, answer: str = "Ana", source: str = "a", text: str = "") -> TrainingExample:
    documents = (Document(text), *DOCUMENTS[1:]) if text else DOCUMENTS
    return TrainingExample(name, "Who made it?", documents, (((0, 3),), ()), "en", source, name, answer=answer)


@torch.inference_mode()
def likelihood(model: CausalLM, prompt: str, answer: str) -> float:
    ids = [model.tokenizer.encode(text, add_special_tokens=False) for text in (prompt, answer)]
    logits = model.model(input_ids=torch.tensor([[*model.first, *ids[0], *ids[1]]])).logits[0]
    tail = logits[-len(ids[1]) - 1 : -1].log_softmax(-1)
    return float(tail[range(len(ids[1])), ids[1]].mean())


def test_likelihoods_of_written_prompts(model: CausalLM) -> None:
    examples = [example(str(number), source=str(number)) for number in range(5)]
    judged = judged_questions(build_labeler("bm25"), cut_questions(examples, len), lambda: None)
    best = float(judged[0].probabilities.max())
    _, *rows = read_by(model, {"bm25": judged}, {"bm25": Cut(best)}, 5)
    ask = "Question: Who made it?\nAnswer:"
    full = likelihood(model, f"Dome\nAna made it. It rained.\n\nNobody came.\n{ask}", " Ana")
    pruned = likelihood(model, f"Dome\nAna made it.\n{ask}", " Ana")
    none = likelihood(model, ask, " Ana")
    assert len({full, pruned, none}) == 3
    for number, row in enumerate(rows):
        assert (row.full, row.pruned, row.none) == pytest.approx((full, pruned, none), abs=1e-5)
        assert row.pruned_to_full.mean == pytest.approx(pruned - full, abs=1e-5)
        assert row.pruned_to_random.mean == pytest.approx(pruned - row.random, abs=1e-5)
        assert (row.questions, row.n, row.n_too_long) == (str(number), 1, 0)
    # one unit by chance, or two that are about as long: another one for most questions
    kept = {"Dome\nIt rained.", "Nobody came.", "Dome\nIt rained.\n\nNobody came."}
    others = [likelihood(model, f"{text}\n{ask}", " Ana") for text in kept]
    assert sum(min(abs(row.random - other) for other in others) < 1e-5 for row in rows) >= 2


def test_sources_labelers_and_what_is_too_long(model: CausalLM) -> None:
    asked = [example("1"), example("2", source="b"), example("3", "", text="Ana. " * 60), example("4")]
    questions = cut_questions([*asked, TrainingExample("5", "Who?", DOCUMENTS, ((), ()), "en", "a", "5")], len)
    judged = {name: judged_questions(build_labeler(name), questions, lambda: None) for name in ("bm25", "lead")}
    cuts = {"bm25": Cut(0.0), "lead": Cut(None)}
    rows = read_by(model, judged, cuts, 9)
    assert [(row.questions, row.labeler, row.n, row.n_too_long) for row in rows] == [
        ("all", "bm25", 3, 1), ("all", "lead", 3, 1), ("a", "bm25", 2, 1), ("a", "lead", 2, 1), ("b", "bm25", 1, 0),
        ("b", "lead", 1, 0),
    ]  # fmt: skip
    # everything is kept, or nothing: by the labeler and at random
    for row in rows:
        as_long = row.full if row.labeler == "bm25" else row.none
        assert (row.pruned, row.random) == pytest.approx((as_long, as_long), abs=1e-5)
        assert row.pruned_to_random.high == pytest.approx(0, abs=1e-6)
    some = [row for row in read_by(model, judged, cuts, 3) if row.labeler == "lead" and row.questions != "all"]
    assert 2 <= sum(row.n for row in some) <= 3
    too_long = {"bm25": [judged["bm25"][2]]}
    with pytest.raises(ValueError, match="want a reader of a window of more than 200 tokens: 1 questions are longer"):
        read_by(model, too_long, cuts, 9)


def test_where_no_answer_is_known_gold_is_read(model: CausalLM) -> None:
    found = []
    for answer in ("", "Ana"):
        judged = judged_questions(build_labeler("lead"), cut_questions([example("1", answer)], len), lambda: None)
        found.append(read_by(model, {"lead": judged}, {"lead": Cut(1.0)}, 1)[0])
    assert np.isfinite(found[0].full)
    assert found[0] == found[1]


def test_the_draw_of_a_divided_cut_hangs_on_the_question(model: CausalLM, tmp_path: Path) -> None:
    questions = cut_questions([example(str(number)) for number in range(30)], len)
    judged = judged_questions(build_labeler("lead"), questions, lambda: None)
    row, again = (read_by(model, {"lead": judged}, {"lead": Cut(None, 0.0, 0.5)}, 30)[0] for _ in range(2))
    assert row == again
    # some have read everything, and some nothing
    assert min(row.full, row.none) + 1e-6 < row.pruned < max(row.full, row.none) - 1e-6
