"""EL2N on both backends."""

import pytest
import torch

from prunekernels.el2n import el2n


def _exact(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    onehot = torch.nn.functional.one_hot(labels, logits.shape[1])
    return (logits.double().softmax(-1) - onehot).norm(dim=-1)


def test_by_hand(backend: str, device: torch.device) -> None:
    logits = torch.tensor(
        [[0.0, 0.0], [50.0, -50.0], [-50.0, 50.0], [torch.log(torch.tensor(3.0)), 0.0]], device=device
    )
    scores = el2n(logits, torch.zeros(4, dtype=torch.int64, device=device), backend=backend)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.cpu(), torch.tensor([0.5**0.5, 0.0, 2**0.5, 0.125**0.5]), rtol=1e-6, atol=1e-7)


# one column; below, at and past a block of 2048 columns; rows past a full tile
@pytest.mark.parametrize("shape", [(1, 1), (5, 2), (130, 10), (3, 2047), (3, 2048), (3, 2049), (2, 5000)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_agrees_with_float64(shape, dtype: torch.dtype, backend: str, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(shape, generator=generator)).to(dtype)
    # the largest value stands in the last column, where a missing tail shows
    logits[:, -1] = 9
    labels = torch.randint(0, shape[1], shape[:1], generator=generator)
    exact = _exact(logits, labels)
    plain = (logits.float().softmax(-1) - torch.nn.functional.one_hot(labels, shape[1])).norm(dim=-1)
    scores = el2n(logits.to(device), labels.to(device), backend=backend).cpu()
    # beside plain torch's own error: eight roundings (subtract, exp, divide, two sums, squares, root) of up to 1.2e-7
    assert (scores - exact).abs().max() <= 2 * (plain - exact).abs().max() + 8 * 1.2e-7


def test_blocks_of_columns_are_joined(backend: str, device: torch.device) -> None:
    logits = torch.full((2, 5000), -30.0)
    # three classes share the mass, each in another block, rising in one row and falling in the other
    logits[0, [7, 2500, 4999]] = torch.tensor([1.0, 1.5, 2.0])
    logits[1, [7, 2500, 4999]] = torch.tensor([2.0, 1.5, 1.0])
    labels = torch.tensor([2500, 100])
    scores = el2n(logits.to(device), labels.to(device), backend=backend).cpu()
    torch.testing.assert_close(scores.double(), _exact(logits, labels), rtol=1e-6, atol=0)


def test_easy_rows_do_not_cancel(backend: str, device: torch.device) -> None:
    logits = torch.zeros(3, 4, device=device)
    logits[:, 1] = torch.tensor([20.0, 30.0, 40.0])
    labels = torch.ones(3, dtype=torch.int64, device=device)
    scores = el2n(logits, labels, backend=backend)
    # three others at e^-z each: p_c = e / (1 + 3e) and 1 - p_y = 3e / (1 + 3e)
    e = torch.exp(-logits[:, 1].double().cpu())
    torch.testing.assert_close(scores.cpu().double(), 12**0.5 * e / (1 + 3 * e), rtol=1e-5, atol=0)


def test_rows_do_not_depend_on_their_mates(backend: str, device: torch.device) -> None:
    logits = torch.randn(70, 33, generator=torch.Generator().manual_seed(1)).to(device)
    labels = (torch.arange(70) % 33).to(device)
    together = el2n(logits, labels, backend=backend)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(2)).to(device)
    assert torch.equal(el2n(logits[order], labels[order], backend=backend), together[order])
    assert torch.equal(el2n(logits[5:6], labels[5:6], backend=backend), together[5:6])


def test_strides_and_empty(backend: str, device: torch.device) -> None:
    wide = torch.randn(12, 40, generator=torch.Generator().manual_seed(3)).to(device)
    labels = torch.tensor([1, 9, 0, 9, 5, 9, 2, 9], device=device)[::2]
    for view in (wide.T[:4, :7], wide[::3, ::4]):
        torch.testing.assert_close(
            el2n(view, labels, backend=backend), el2n(view.contiguous(), labels.contiguous(), backend=backend)
        )
    assert el2n(wide[:0], labels[:0], backend=backend).shape == (0,)


def test_a_class_may_be_ruled_out(backend: str, device: torch.device) -> None:
    logits = torch.tensor([[0.0, -torch.inf, 0.0], [-torch.inf, 0.0, 0.0]], device=device)
    labels = torch.zeros(2, dtype=torch.int64, device=device)
    torch.testing.assert_close(el2n(logits, labels, backend=backend).cpu(), torch.tensor([0.5**0.5, 1.5**0.5]))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_refuses_a_row_without_a_score(value: float, backend: str, device: torch.device) -> None:
    logits = torch.zeros(4, 3, device=device)
    logits[2, 1] = value
    with pytest.raises(ValueError, match="row 2"):
        el2n(logits, torch.zeros(4, dtype=torch.int64, device=device), backend=backend)
    with pytest.raises(ValueError, match="row 0"):
        el2n(
            torch.full((1, 2), -torch.inf, device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
            backend=backend,
        )


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2), torch.tensor([0, 0]), r"\[N, C\]"),
        (torch.zeros(2, 3), torch.tensor([0]), r"\[N, C\]"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "row 1"),
        (torch.zeros(2, 3), torch.tensor([-100, 0]), "row 0"),
    ],
)
def test_refuses(logits, labels, message: str, backend: str) -> None:
    with pytest.raises(ValueError, match=message):
        el2n(logits, labels, backend=backend)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int8, torch.int16, torch.int32])
def test_labels_of_any_whole_dtype(dtype: torch.dtype, backend: str, device: torch.device) -> None:
    logits = torch.randn(6, 2, generator=torch.Generator().manual_seed(30)).to(device)
    labels = torch.tensor([0, 1, 1, 0, 1, 0], device=device)
    assert torch.equal(el2n(logits, labels.to(dtype), backend=backend), el2n(logits, labels, backend=backend))
    with pytest.raises(ValueError, match="whole labels, got torch.float32 and torch.float32"):
        el2n(logits, labels.float(), backend=backend)
    with pytest.raises(ValueError, match="floating-point logits"):
        el2n(logits.long(), labels, backend=backend)
