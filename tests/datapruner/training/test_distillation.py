"""The distillation loss of pruned sets: the formula in float64, its ends, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datapruner.training.distillation import distillation_loss, distillation_weight

DRAW = np.random.default_rng(0)
STUDENT, TEACHER = 3 * DRAW.normal(size=(7, 4)), 3 * DRAW.normal(size=(7, 4))
LABELS = DRAW.integers(0, 4, 7)


def softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


@pytest.mark.parametrize(("alpha", "temperature"), [(0.0, 1.0), (0.5, 1.0), (0.8, 4.0), (1.0, 0.5)])
def test_it_is_the_formula(alpha: float, temperature: float) -> None:
    student, teacher = (torch.tensor(z, dtype=torch.float32) for z in (STUDENT, TEACHER))
    found = distillation_loss(student, teacher, torch.tensor(LABELS), alpha, temperature)
    hard = -np.log(softmax(STUDENT)[np.arange(7), LABELS]).mean()
    p, q = softmax(TEACHER / temperature), softmax(STUDENT / temperature)
    soft = (p * np.log(p / q)).sum(1).mean()
    assert float(found) == pytest.approx((1 - alpha) * hard + alpha * temperature**2 * soft, rel=1e-5)


def test_the_teacher_is_not_trained_and_the_student_is() -> None:
    student = torch.tensor(STUDENT, dtype=torch.float32, requires_grad=True)
    teacher = torch.tensor(TEACHER, dtype=torch.float32, requires_grad=True)
    distillation_loss(student, teacher, torch.tensor(LABELS), 1.0, 2.0).backward()
    assert teacher.grad is None
    # d/dz of T^2 KL(p || q) is T (q - p), a row's share of the mean
    exact = 2 * (softmax(STUDENT / 2) - softmax(TEACHER / 2)) / 7
    np.testing.assert_allclose(student.grad, exact, atol=1e-6)


def test_more_of_the_teacher_where_less_is_kept() -> None:
    weights = [distillation_weight(ratio) for ratio in (0.01, 0.1, 0.5, 0.9, 1.0)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 0.5
    assert weights[0] == pytest.approx(0.995)


def test_refuses() -> None:
    logits, labels = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="want logits"):
        distillation_loss(logits, torch.zeros(2, 4), labels, 0.5)
    for alpha, temperature in ((1.1, 1.0), (0.5, 0.0)):
        with pytest.raises(ValueError, match="want alpha"):
            distillation_loss(logits, logits, labels, alpha, temperature)
    with pytest.raises(ValueError, match="keep_ratio"):
        distillation_weight(0.0)
