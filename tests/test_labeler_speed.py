"""The benchmark of labelers' speed: its peers hold the model's own weights, its rows what was timed and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForTokenClassification

from benchmarks.labeler_peers import save_reranker, save_token_classifier
from benchmarks.labeler_speed import Timed, in_turn, labelling, rows
from contextpruner.documents.document import Document
from contextpruner.labeler import Labels, build_labeler
from contextpruner.labelers.lead import Lead
from contextpruner.models.joint_encoder import load_joint
from contextpruner.training.evaluation.questions import Question, cut_questions
from contextpruner.training.examples.example import TrainingExample
from prunekernels.io.checkpoint import find_checkpoint
from tests.contextpruner.tiny_checkpoints import open_provence

# ten units of 20 characters, the space behind them included
TEXT = "".join(f"Word {letter} is in here. " for letter in "ABCDEFGHIJ")


def question(gold: int, n_tokens: int = 10) -> Question:
    example = TrainingExample("1", "Who?", (Document(TEXT),), (((20 * gold, 20 * gold + 5),),), "en", "set", "g")
    return cut_questions([example], lambda _: n_tokens)[0]


def test_the_reranker_gives_the_rank_of_the_model(tmp_path: Path) -> None:
    model = open_provence(tmp_path / "model", "bert")
    reranker = save_reranker(tmp_path / "reranker", model)
    (one,) = cut_questions(
        [TrainingExample("1", "Who designed it?", (Document("It was the dome."),), ((),), "en", "set", "g")], len
    )
    wanted = build_labeler(f"provence:model={model}").score("Who designed it?", one.documents).scores
    said = build_labeler(f"cross_encoder:model={reranker}").score("Who designed it?", one.documents)
    np.testing.assert_allclose(said.probabilities[0], wanted, rtol=0, atol=1e-6)


def test_the_token_classifier_has_the_head_of_the_model(tmp_path: Path) -> None:
    model = open_provence(tmp_path / "model", "bert")
    named = save_token_classifier(tmp_path, model)
    joint = load_joint(find_checkpoint(str(model)), "open_provence")[0]
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        wanted = joint.head(joint.ranker.get_submodule(joint.encoder)(ids).last_hidden_state)
        found = BertForTokenClassification.from_pretrained(named).eval()(ids).logits
    torch.testing.assert_close(found, wanted)
    # one of two names by which the package knows how words are cut
    assert "xlm-roberta-large" in str(named)


def test_rows_hold_what_was_timed_and_what_is_kept() -> None:
    questions = [question(2), question(7, n_tokens=100)]

    def said(best: bool) -> list[Labels]:
        values = [np.where(one.gold, 0.95 if best else 0.05, np.linspace(0.1, 0.9, 10)) for one in questions]
        return [Labels((own.astype(np.float32),), np.ones(1, np.float32)) for own in values]

    timed = [
        Timed("ours", np.array([0.1, 0.4]), said(True)),
        Timed("peer", np.array([1.0, 4.0]), said(False)),
        Timed("mute", np.array([0.5, 0.5]), [None, None]),
    ]
    ours, peer, mute = rows(timed, questions)
    assert (ours.tokens, ours.questions) == (1100, 2)
    assert ours.tokens_a_second == pytest.approx(1100 / 0.5)
    assert (ours.tokens_a_second_short, ours.tokens_a_second_long) == pytest.approx((1000, 2500))
    assert (ours.ours_is_faster, peer.ours_is_faster, mute.ours_is_faster) == pytest.approx((1, 10, 2))
    assert (ours.recall, peer.recall, mute.recall) == (1, 0, None)
    assert rows(timed[:1], questions)[0].tokens_a_second_short is not None
    alone = rows([Timed("ours", np.array([0.1]), said(True)[:1])], questions[:1])
    assert alone[0].tokens_a_second_long is None


def test_every_path_gets_every_question() -> None:
    questions = [question(2), question(7)]
    seen: list[str] = []
    timed = in_turn({"lead": labelling(Lead()), "mute": lambda one: seen.append(one.example.id)}, questions)
    assert [one.name for one in timed] == ["lead", "mute"]
    # one that is not timed, and two that are
    assert len(seen) == 3
    assert all((one.seconds > 0).all() for one in timed)
    assert timed[0].said[1] is not None
    assert timed[0].said[1].probabilities[0][0] == 1
    assert timed[1].said == [None, None]
