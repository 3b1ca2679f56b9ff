"""Last-layer GraNd against autograd."""

import pytest
import torch

from prunekernels.grand import grand


def test_is_the_norm_of_the_heads_gradient(backend: str, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(7, 5).double()
    features = torch.randn(9, 7, generator=generator, dtype=torch.float64)
    labels = torch.arange(9) % 5
    exact = []
    for feature, label in zip(features, labels, strict=True):
        head.zero_grad()
        torch.nn.functional.cross_entropy(head(feature[None]), label[None]).backward()
        exact.append(torch.cat([head.weight.grad.flatten(), head.bias.grad]).norm())
    logits = head(features).detach().float().to(device)
    scores = grand(logits, labels.to(device), features.float().to(device), backend=backend)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.cpu().double(), torch.stack(exact), rtol=1e-5, atol=0)


def test_by_hand() -> None:
    scores = grand(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([[2.0, 2.0]]))
    assert float(scores) == pytest.approx(0.5**0.5 * 3)


def test_half_features_are_summed_in_float32() -> None:
    features = torch.full((1, 4096), 20.0, dtype=torch.float16)
    scores = grand(torch.zeros(1, 2), torch.tensor([0]), features)
    assert float(scores) == pytest.approx(0.5**0.5 * (1 + 4096 * 400) ** 0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(2, 3), r"features \[1, D\]"),
        (torch.zeros(3), r"features \[1, D\]"),
        (torch.tensor([[torch.nan]]), "row 0"),
    ],
)
def test_refuses(features, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grand(torch.zeros(1, 2), torch.tensor([0]), features)


def test_large_features_have_a_score_as_far_as_float32_goes(backend: str, device: torch.device) -> None:
    logits, labels = torch.zeros(2, 2, device=device), torch.tensor([0, 1], device=device)
    # p is 1/2, so that el2n is sqrt(1/2); the norm of (3, 4) is 5
    features = torch.tensor([[3e30, 4e30], [0.0, 1e-30]], device=device)
    wanted = torch.tensor([5e30 * 0.5**0.5, 0.5**0.5], device=device)
    torch.testing.assert_close(grand(logits, labels, features, backend=backend), wanted)
    with pytest.raises(ValueError, match="row 1: its score is beyond float32"):
        grand(logits, labels, (features.double() * 1e30).flip(0), backend=backend)
    features[0, 1] = torch.nan
    with pytest.raises(ValueError, match="row 0: its features have NaN"):
        grand(logits, labels, features, backend=backend)
