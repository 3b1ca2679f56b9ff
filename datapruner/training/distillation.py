"""Distillation on a pruned set, after Ben-Baruch et al. 2025 (arXiv:2403.07854): the teacher has seen all rows.

    L = (1 - alpha) CE(y, student) + alpha T^2 KL(softmax(teacher / T) || softmax(student / T))

The paper's finding is a direction: the smaller the kept fraction f, the larger the best alpha, with labels worth more
again as f nears 1; at small f, random rows with distillation are as good as chosen ones, and a teacher no larger than
the student is better. It gives no alpha(f). Ours is the straight line between its two ends, alpha(0) = 1 and
alpha(1) = 1/2:

    alpha(f) = 1 - f / 2

T^2 keeps the two gradients comparable whatever the temperature (Hinton et al. 2015, arXiv:1503.02531).
"""

from __future__ import annotations

import torch

from prunekernels.budget import check_keep_ratio


def distillation_weight(keep_ratio: float) -> float:
    """alpha of the fraction `keep_ratio` in (0, 1] of the rows that are kept: from 1 down to 1/2."""
    check_keep_ratio(keep_ratio)
    return 1 - keep_ratio / 2


def distillation_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    alpha: float,
    temperature: float = 1.0,
) -> torch.Tensor:
    """The mean over rows of logits `student` and `teacher` [n, C] with whole `labels` [n]; no gradient for the teacher.

    Raises ValueError for other shapes, alpha outside [0, 1], or a temperature that is not above 0.
    """
    if student.ndim != 2 or teacher.shape != student.shape or labels.shape != student.shape[:1]:
        shapes = [[*tensor.shape] for tensor in (student, teacher, labels)]
        raise ValueError(f"want logits [n, C] of student and teacher and labels [n], got {shapes}")
    if not 0 <= alpha <= 1 or not temperature > 0:
        raise ValueError(f"want alpha in [0, 1] and a temperature above 0, got {alpha} and {temperature}")
    functional = torch.nn.functional
    student, teacher = student.float(), teacher.detach().float()
    hard = functional.cross_entropy(student, labels)
    own, wanted = (logits / temperature for logits in (student, teacher))
    soft = functional.kl_div(own.log_softmax(-1), wanted.log_softmax(-1), reduction="batchmean", log_target=True)
    return (1 - alpha) * hard + alpha * temperature**2 * soft
