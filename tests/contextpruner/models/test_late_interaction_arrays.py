"""Token vectors in any kind of array, exact scores of them, and which tokens are kept by attention."""

from pathlib import Path

import numpy as np
import pytest
import torch

from contextpruner.models.late_interaction import build_index, max_sim, salient_tokens, search
from contextpruner.models.late_interaction.arrays import ragged

DOCUMENTS = [[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [-1.0, 0.0]]]
QUESTION = [[1.0, 0.0], [0.0, 1.0]]


def test_every_kind_of_array_gives_the_same_scores(tmp_path: Path) -> None:
    values = np.array(DOCUMENTS, dtype=np.float16).reshape(4, 2)
    on_disk = np.memmap(tmp_path / "values", dtype=np.float16, mode="w+", shape=(4, 2))
    on_disk[:] = values
    on_disk.flush()
    read = np.memmap(tmp_path / "values", dtype=np.float16, mode="r", shape=(4, 2))
    question = np.array(QUESTION, dtype=np.float32)
    for found in (
        max_sim(question, values, [2, 2]),
        max_sim(question, values, np.array([2, 2])),
        max_sim(question, read, torch.tensor([2, 2])),
        max_sim(question, values.reshape(2, 2, 2)),
        max_sim(question, [values[:2], values[2:]]),
        max_sim(torch.tensor(QUESTION), list(values.reshape(2, 2, 2))),
    ):
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [2, 1.4], rtol=1e-3)
    found = max_sim(question, torch.tensor(DOCUMENTS))
    assert isinstance(found, torch.Tensor)
    assert found.tolist() == pytest.approx([2, 1.4])


def test_several_questions_are_rows() -> None:
    documents = torch.tensor(DOCUMENTS)
    one, other = torch.tensor(QUESTION), torch.tensor([[-1.0, 0.0]])
    together = max_sim([one, other], documents)
    assert torch.equal(together, torch.stack([max_sim(one, documents), max_sim(other, documents)]))
    assert torch.equal(max_sim(torch.cat([one, other]), documents, question_lengths=[2, 1]), together)
    assert max_sim(one[None], documents).shape == (1, 2)
    assert together[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("vectors", "lengths", "message"),
    [
        (np.zeros((4, 2)), None, "with lengths"),
        (np.zeros(4), [4], r"\[T, D\]"),
        (np.zeros((4, 2)), [3], "sum to 4"),
        (np.zeros((4, 2)), [5, -1], "at least 0"),
        (np.zeros((4, 2)), np.array([2.0, 2.0]), "whole lengths of vectors"),
        (np.zeros((4, 2)), [1.5, 2.5], "whole number, got 1.5"),
        ([np.zeros((4, 2))], [4], "of its own"),
        ([], None, "no width"),
        ([np.zeros((4, 2)), np.zeros((4, 3))], None, "at place 1"),
        ([np.zeros((4, 2)), np.zeros((4, 2), dtype=np.float32)], None, "float32 at place 1"),
        ([[1.0, 2.0]], None, "numpy array or a torch tensor, got list"),
    ],
)
def test_refuses(vectors, lengths, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ragged("vectors", vectors, lengths)


def test_attention_keeps_the_top_share_of_each_document() -> None:
    attention = np.array([0.1, 0.5, 0.4, 0.9, 0.2, 0.2, 0.2, 0.2, 0.2], dtype=np.float32)
    rows, lengths = salient_tokens(attention, [3, 0, 1, 5], 0.4)
    # two of three, one of one, two of five: the earlier of equal ones
    assert (rows.tolist(), lengths.tolist()) == ([1, 2, 3, 4, 5], [2, 0, 1, 2])
    assert isinstance(rows, np.ndarray)
    rows, lengths = salient_tokens(torch.from_numpy(attention), torch.tensor([3, 0, 1, 5]), 1)
    assert (rows.tolist(), lengths.tolist()) == (list(range(9)), [3, 0, 1, 5])
    assert isinstance(rows, torch.Tensor)
    assert salient_tokens(attention[:0], [0, 0], 0.5)[1].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("attention", "lengths", "keep_ratio", "message"),
    [
        (np.ones((2, 2)), [2], 0.5, r"attention \[T\]"),
        (np.ones(3), [2], 0.5, "sum to 3"),
        (np.ones(3), [3], 0, "keep_ratio"),
        (np.array([0, np.nan]), [2], 0.5, "score 1 is NaN"),
    ],
)
def test_attention_refuses(attention, lengths, keep_ratio: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        salient_tokens(attention, lengths, keep_ratio)


def test_an_index_of_salient_tokens_finds_by_them_alone() -> None:
    values = torch.eye(4)
    rows, lengths = salient_tokens(torch.tensor([1.0, 0.0, 0.0, 1.0]), [2, 2], 0.5)
    index = build_index(values[rows], lengths)
    found = [search(index, values[token : token + 1], 1) for token in (0, 3)]
    assert [(each.documents.tolist(), round(float(each.scores), 5)) for each in found] == [([0], 1), ([1], 1)]
