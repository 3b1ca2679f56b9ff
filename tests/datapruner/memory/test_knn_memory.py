"""A memory of embeddings: votes by hand, reliabilities by counting, growth and unlearning that leave no trace."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from datapruner.memory.knn_memory import KnnMemory
from datapruner.memory.reliability import reliability
from datapruner.memory.voting import vote_totals, vote_weights

COSINES = np.array([[0.9, 0.5, -np.inf]])


def test_weights_are_the_published_ones() -> None:
    np.testing.assert_allclose(vote_weights(COSINES), [[1 / 3, 1 / 4, 0]])
    np.testing.assert_allclose(vote_weights(COSINES, "plurality"), [[1, 1, 0]])
    np.testing.assert_allclose(vote_weights(COSINES, "distance"), [[np.exp(-0.1), np.exp(-0.5), 0]])
    soft = np.exp(np.array([0.9, 0.5]) / 0.07)
    np.testing.assert_allclose(vote_weights(COSINES, "softmax")[0, :2], soft / soft.sum())
    with pytest.raises(ValueError, match="want rank, plurality"):
        vote_weights(COSINES, "loud")  # type: ignore[arg-type]
    totals = vote_totals(np.array([[1, 0, 1], [2, 2, 2]]), np.array([[1, 2, 3], [1, 0, 1]]), 3)
    assert totals.tolist() == [[2, 4, 0], [0, 0, 2]]


def test_reliability_has_the_values_of_the_paper() -> None:
    found = reliability(np.array([0, 1, 10, 100]))
    np.testing.assert_allclose(found.round(2), [1.0, 0.88, 0.16, 0.02])


def filled(n: int = 60, k: int = 7, noise: float = 0.2, seed: int = 0) -> tuple[KnnMemory, np.ndarray, np.ndarray]:
    """Three directions with noisy labels; the memory, its vectors and the labels that would be right."""
    draw = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    vectors = (3 * np.eye(3, 5)[truth] + draw.normal(size=(n, 5))).astype(np.float32)
    labels = np.where(draw.random(n) < noise, (truth + 1) % 3, truth)
    memory = KnnMemory(k)
    memory.add([f"u{row}" for row in range(n)], vectors, labels.tolist())
    return memory, vectors, truth


def slow_wrong_votes(vectors: np.ndarray, labels: list[int], k: int) -> list[int]:
    """A row at a time, sorted by hand."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    counts = [0] * len(labels)
    for row in range(len(labels)):
        others = sorted(
            (other for other in range(len(labels)) if other != row), key=lambda o: -float(unit[row] @ unit[o])
        )
        totals: dict[int, float] = {}
        for rank, other in enumerate(others[:k], 1):
            totals[labels[other]] = totals.get(labels[other], 0) + 1 / (2 + rank)
        decided = min(totals, key=lambda label: (-totals[label], label))
        if decided != labels[row]:
            for other in others[:k]:
                counts[other] += labels[other] == decided
    return counts


@pytest.mark.parametrize("k", [1, 7, 100])
def test_wrong_votes_are_counted_with_the_row_left_out(k: int) -> None:
    memory, vectors, _ = filled(k=k)
    wanted = slow_wrong_votes(vectors, memory.labels, k)  # type: ignore[arg-type]
    assert sum(wanted) > 0
    assert memory.wrong_votes().tolist() == wanted
    assert memory.weigh().tolist() == wanted
    np.testing.assert_allclose(memory.reliability, [1.75 / (1 + v) if v else 1 for v in wanted])


def test_copies_do_not_hide_a_row_from_itself() -> None:
    memory = KnnMemory(k=1)
    vectors = np.array([[1, 0]] * 3 + [[0, 1]], np.float32)
    # what drops the first neighbour, by its place, would ask rows about themselves
    memory.add(["a", "b", "c", "d"], vectors, ["x", "x", "y", "x"])
    # a is told by b, b by a, c by a, d by a (at right angles to all): a was wrong about c
    assert memory.wrong_votes().tolist() == [1, 0, 0, 0]


def test_pruning_mends_decisions_about_digits() -> None:
    images, digits = load_digits(return_X_y=True)
    images = images - images.mean(0)
    plain = soft = hard = 0
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(digits))
        known, asked = order[: len(order) // 2], order[len(order) // 2 :]
        memory = KnnMemory(k=20)
        memory.add([*map(str, known)], images[known], digits[known].tolist())
        plain += int((np.array(memory.decide(images[asked]).labels) != digits[asked]).sum())
        memory.weigh()
        soft += int((np.array(memory.decide(images[asked]).labels) != digits[asked]).sum())
        leaving = memory.prune(wrong=4)
        assert 0 < len(leaving) < 20
        assert not set(leaving) & set(memory.uids)
        assert (memory.reliability == 1).all()
        hard += int((np.array(memory.decide(images[asked]).labels) != digits[asked]).sum())
    # 118 of 3,596 are wrong without, 99 with weights, 112 without the worst rows
    assert soft < 0.9 * plain
    assert hard < plain


def test_what_is_unlearned_leaves_no_trace_and_growth_none_on_others() -> None:
    whole, vectors, _ = filled()
    queries = filled(20, seed=3)[1]
    kept = [row for row in range(60) if row % 5]
    apart = KnnMemory(k=7)
    apart.add([f"u{row}" for row in kept], vectors[kept], [whole.labels[row] for row in kept])
    whole.weigh()
    whole.remove([f"u{row}" for row in range(0, 60, 5)])
    for memory in (whole, apart):
        assert (memory.reliability == 1).all()
    a, b = whole.decide(queries), apart.decide(queries)
    assert (a.labels, a.neighbours) == (b.labels, b.neighbours)
    np.testing.assert_array_equal(a.weights, b.weights)
    assert whole.weigh().tolist() == apart.weigh().tolist()
    # a new class, far from all others, is known at once and changes no other answer
    whole.reliability[:] = 1
    whole.add(["new"], np.array([[0, 0, 0, 0, -9]], np.float32), ["new class"])
    assert KnnMemory.decide(whole, np.array([[0, 0, 0, 0, -1.0]], np.float32)).neighbours[0][0] == "new"
    assert [*map(str, whole.decide(queries).labels)] == [*map(str, b.labels)]


def test_an_answer_names_the_rows_it_rests_on() -> None:
    memory = KnnMemory(k=2)
    memory.add(["a", "b", "c"], np.array([[1, 0], [1, 1], [-1, 0]], np.float32), ["x", "y", "z"])
    answer = memory.decide(np.array([[1, 0.1], [-1, 0.1]], np.float32))
    assert answer.labels == ["x", "z"]
    assert answer.neighbours == [["a", "b"], ["c", "b"]]
    np.testing.assert_allclose(answer.weights, [[1 / 3, 1 / 4]] * 2)


def test_refuses() -> None:
    memory, vectors, _ = filled(6)
    with pytest.raises(ValueError, match="want k of at least 1"):
        KnnMemory(0)
    with pytest.raises(ValueError, match="want each uid once, got 'u1'"):
        memory.add(["v", "u1"], vectors[:2], [0, 1])
    with pytest.raises(ValueError, match="want each uid once, got 'v'"):
        memory.add(["v", "v"], vectors[:2], [0, 1])
    with pytest.raises(ValueError, match=r"want uids, labels and vectors \[n, 5\]"):
        memory.add(["v"], vectors[:1, :4], [0])
    with pytest.raises(ValueError, match="want uids of the memory, got 'w'"):
        memory.remove(["u1", "w"])
    assert len(memory) == 6
    with pytest.raises(ValueError, match="want vectors like the memory's"):
        memory.decide(vectors[:, :4])
    with pytest.raises(ValueError, match="want finite vectors"):
        memory.decide(np.full((1, 5), np.nan))
    with pytest.raises(ValueError, match="want vectors like"):
        KnnMemory().decide(vectors)
    with pytest.raises(ValueError, match="want a number of wrong decisions"):
        memory.prune(0)
