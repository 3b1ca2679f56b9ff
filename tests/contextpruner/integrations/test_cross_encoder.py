"""A pruner where a CrossEncoder is expected: numbers of the same form, and one of its package's evaluators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator

from contextpruner import ContextPruner
from contextpruner.integrations.cross_encoder import PruningCrossEncoder
from tests.contextpruner.integrations.passages import BREAD
from tests.contextpruner.integrations.served import KEPT, QUESTION, TEXT

OTHER = "Where is bread baked?"


def test_scores_have_the_forms_of_a_cross_encoder() -> None:
    model = PruningCrossEncoder(ContextPruner("bm25"))
    pairs = [(QUESTION, TEXT), (OTHER, BREAD), (QUESTION, BREAD)]
    scores = model.predict(pairs)
    wanted = ContextPruner("bm25").prune(QUESTION, [TEXT, BREAD]).documents
    other = ContextPruner("bm25").prune(OTHER, [BREAD]).documents
    assert isinstance(scores, np.ndarray)
    assert scores.dtype == np.float32
    assert scores.tolist() == [wanted[0].score, other[0].score, wanted[1].score]
    assert torch.equal(model.predict(pairs, convert_to_tensor=True), torch.tensor(scores))  # type: ignore[arg-type]
    assert model.predict(pairs, convert_to_numpy=False) == [*scores]
    single = model.predict((OTHER, BREAD))
    assert np.ndim(single) == 0
    assert single == scores[1]
    assert model.predict([]).shape == (0,)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="want pairs"):
        model.predict([(QUESTION,)])


def test_rank_is_best_first_with_what_is_kept() -> None:
    model = PruningCrossEncoder(ContextPruner("bm25"))
    hits = model.rank(QUESTION, [BREAD, TEXT, "Bees."], return_documents=True)
    assert [hit["corpus_id"] for hit in hits] == [1, 0, 2]
    assert (hits[0]["text"], hits[0]["pruned_text"]) == (TEXT, KEPT)
    assert hits[0]["score"] > hits[1]["score"]  # type: ignore[operator]
    assert [{*hit} for hit in model.rank(QUESTION, [BREAD, TEXT], top_k=1)] == [{"corpus_id", "score"}]
    assert model.rank(QUESTION, [BREAD, TEXT], top_k=1)[0]["corpus_id"] == 1


class Evaluator(CrossEncoderRerankingEvaluator):
    """Writes no numbers into the card of the model: a pruner has none."""

    def store_metrics_in_model_card_data(self, *_: object) -> None:
        pass


def test_in_an_evaluator_of_the_package() -> None:
    samples = [
        {"query": QUESTION, "positive": [TEXT], "negative": [BREAD, "It rains."]},
        {"query": OTHER, "positive": [BREAD], "negative": [TEXT]},
    ]
    evaluator = Evaluator(samples, write_csv=False)
    found = evaluator(PruningCrossEncoder(ContextPruner("bm25")))
    assert found[evaluator.primary_metric] == 1.0
