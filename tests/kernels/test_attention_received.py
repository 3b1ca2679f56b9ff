"""Column sums of attention on both backends, against the whole matrix in float64."""

import pytest
import torch

from prunekernels import _attention, _attention_rows
from prunekernels.attention_received import attention_received


def _exact(q, k, causal=False, mask=None) -> torch.Tensor:
    """Probabilities [B, H, M, N] in float64; rows that do not count are zero."""
    n_queries, n_keys = q.shape[2], k.shape[2]
    scores = q.double() @ k.double().repeat_interleave(q.shape[1] // k.shape[1], 1).mT / q.shape[-1] ** 0.5
    seen = torch.ones(len(q), 1, n_queries, n_keys, dtype=torch.bool)
    if causal:
        seen &= torch.arange(n_keys) <= torch.arange(n_keys - n_queries, n_keys)[:, None]
    if mask is not None:
        keys = mask.long()[:, None, None]
        seen &= keys != 0
        if causal or n_queries == n_keys:
            seen &= keys == keys[..., n_keys - n_queries :].mT
    return scores.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num(0)


def _problem(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    n_samples, n_heads, n_groups, n_queries, n_keys, n_dims = shape
    generator = torch.Generator().manual_seed(seed)
    q = 2 * torch.randn(n_samples, n_heads, n_queries, n_dims, generator=generator)
    k = 2 * torch.randn(n_samples, n_groups, n_keys, n_dims, generator=generator)
    # the strongest key is the last one, where a missing tail shows
    k[:, :, -1] = 3 * q[:, :1, -1] / q[:, :1, -1].norm(dim=-1, keepdim=True)
    return q.to(dtype), k.to(dtype)


def _lengths(n_samples: int, n_keys: int, left: bool) -> torch.Tensor:
    """Padding of 0, 3, 6... positions on one side."""
    steps = torch.arange(n_keys)
    pads = 3 * torch.arange(n_samples)[:, None]
    return steps >= pads if left else steps < n_keys - pads


def test_by_hand(backend: str, device: torch.device) -> None:
    q = torch.tensor([[[[0.0], [1.0]]]], device=device)
    k = torch.tensor([[[[0.0], [2.0]]]], device=device).log().clamp(min=0)
    # row 0 looks at both alike; row 1 at [1/3, 2/3]; causal, row 0 sees itself alone
    torch.testing.assert_close(attention_received(q, k, backend=backend).cpu(), torch.tensor([[[5 / 6, 7 / 6]]]))
    causal = attention_received(q, k, causal=True, backend=backend)
    torch.testing.assert_close(causal.cpu(), torch.tensor([[[4 / 3, 2 / 3]]]))


# below, at and past a tile of 32; head dims that are and are not powers of two; more keys than queries
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1, 1, 16), (2, 4, 2, 33, 33, 32), (1, 2, 1, 32, 64, 80), (2, 3, 3, 5, 65, 128), (1, 1, 1, 40, 40, 256)],
)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_agrees_with_float64(shape, causal: bool, dtype, backend: str, device: torch.device) -> None:
    q, k = _problem(shape, dtype=dtype)
    received = attention_received(q.to(device), k.to(device), causal=causal, backend=backend)
    assert received.dtype == torch.float32
    # the inputs are exact in float32; a score of up to 40 rounds by 5e-6, and so does its exponential
    torch.testing.assert_close(received.cpu().double(), _exact(q, k, causal).sum(2), rtol=2e-5, atol=1e-6)
    rows = torch.full(shape[:2], float(shape[3]))
    torch.testing.assert_close(received.cpu().sum(-1), rows, rtol=1e-5, atol=0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_padding_equals_singles(causal: bool, left: bool, backend: str, device: torch.device) -> None:
    q, k = (item.to(device) for item in _problem((3, 2, 1, 40, 40, 16)))
    mask = _lengths(3, 40, left).to(device)
    # what padding holds must not matter
    q, k = (item.where(mask[:, None, :, None], torch.nan) for item in (q, k))
    received = attention_received(q, k, causal=causal, mask=mask, backend=backend)
    for sample in range(3):
        real = mask[sample].nonzero().flatten()
        alone = attention_received(q[sample : sample + 1, :, real], k[sample : sample + 1, :, real], causal=causal)
        torch.testing.assert_close(received[sample][:, real], alone[0], rtol=1e-5, atol=1e-6)
        assert not received[sample][:, ~mask[sample]].any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scan", [1024, 16])
def test_packed_sequences_equal_singles(
    causal: bool, scan: int, backend: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    # programs look for their first and last position 1,024 at a time: one look, or several
    monkeypatch.setattr(_attention, "SCAN", scan)
    q, k = (item.to(device) for item in _problem((1, 2, 2, 75, 75, 16)))
    numbers = torch.tensor([1] * 31 + [2] * 2 + [5] * 40 + [0] * 2, device=device)[None]
    received = attention_received(q, k, causal=causal, mask=numbers, backend=backend)
    for number in (1, 2, 5):
        own = (numbers[0] == number).nonzero().flatten()
        alone = attention_received(q[:, :, own], k[:, :, own], causal=causal)
        torch.testing.assert_close(received[:, :, own], alone, rtol=1e-5, atol=1e-6)
    assert not received[:, :, -2:].any()


@pytest.mark.parametrize("causal", [False, True])
def test_a_subset_of_rows(causal: bool, backend: str, device: torch.device) -> None:
    q, k = _problem((2, 2, 1, 37, 37, 16))
    mask = _lengths(2, 37, left=True)
    exact = _exact(q, k, causal, mask)
    rows = torch.tensor([[36, 4, 0], [20, -1, 1]])
    wanted = torch.stack([exact[0][:, [36, 4, 0]].sum(1), exact[1][:, [20, 1]].sum(1)])
    arguments = {"causal": causal, "mask": mask.to(device), "backend": backend}
    received = attention_received(q.to(device), k.to(device), query_rows=rows.to(device), **arguments)
    torch.testing.assert_close(received.cpu().double(), wanted, rtol=2e-5, atol=1e-6)
    last = attention_received(q.to(device), k.to(device), query_rows=torch.tensor([36], device=device), **arguments)
    torch.testing.assert_close(last.cpu().double(), exact[:, :, 36], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_lse_given_or_computed(causal: bool, backend: str, device: torch.device) -> None:
    q, k = _problem((2, 2, 2, 35, 35, 32))
    scores = q @ k.mT / 32**0.5
    if causal:
        scores = scores.masked_fill(torch.arange(35) > torch.arange(35)[:, None], -torch.inf)
    arguments = (q.to(device), k.to(device))
    computed = attention_received(*arguments, causal=causal, backend=backend)
    given = attention_received(*arguments, lse=scores.logsumexp(-1).to(device), causal=causal, backend=backend)
    torch.testing.assert_close(given, computed, rtol=1e-5, atol=1e-6)
    # it is read, not computed again: one more in the log-sum-exp is a factor of 1/e
    shifted = attention_received(*arguments, lse=scores.logsumexp(-1).to(device) + 1, causal=causal, backend=backend)
    torch.testing.assert_close(shifted * torch.e, computed, rtol=1e-5, atol=1e-6)
    some = torch.tensor([3, 30], device=device)
    torch.testing.assert_close(
        attention_received(*arguments, scores.logsumexp(-1).to(device), causal, some, backend=backend),
        attention_received(*arguments, None, causal, some, backend=backend), rtol=1e-5, atol=1e-6,
    )  # fmt: skip


def test_two_runs_give_the_same_bits(backend: str, device: torch.device) -> None:
    q, k = (item.to(device) for item in _problem((2, 4, 2, 100, 100, 32)))
    first = attention_received(q, k, causal=True, backend=backend)
    assert torch.equal(attention_received(q, k, causal=True, backend=backend), first)
    alone = attention_received(q[1:], k[1:], causal=True, backend=backend)
    torch.testing.assert_close(alone[0], first[1], rtol=1e-6, atol=1e-7)


def test_strides(backend: str, device: torch.device) -> None:
    q, k = (item.to(device) for item in _problem((2, 4, 2, 34, 34, 64)))
    dense = attention_received(q, k, backend=backend)
    # [B, N, H, D] in memory, as projections leave it, and every second number of a wider row
    laid_out = [item.transpose(1, 2).contiguous().transpose(1, 2) for item in (q, k)]
    torch.testing.assert_close(attention_received(*laid_out, backend=backend), dense)
    wide = [torch.stack([item, item + 1], -1).flatten(-2)[..., ::2] for item in (q, k)]
    torch.testing.assert_close(attention_received(*wide, backend=backend), dense)


def test_blocks_of_the_reference_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = _problem((2, 2, 1, 50, 50, 16))
    whole = attention_received(q, k, causal=True, backend="torch")
    monkeypatch.setattr(_attention_rows, "MAX_SCORES", 2 * 50 * 7)
    torch.testing.assert_close(attention_received(q, k, causal=True, backend="torch"), whole, rtol=1e-6, atol=1e-6)


def test_edges(backend: str, device: torch.device) -> None:
    q, k = (item.to(device) for item in _problem((2, 2, 1, 4, 6, 16)))
    assert attention_received(q[:, :, :0], k, backend=backend).tolist() == torch.zeros(2, 2, 6).tolist()
    assert attention_received(q[:0], k[:0], backend=backend).shape == (0, 2, 6)
    assert attention_received(q[:, :, :0], k[:, :, :0], backend=backend).shape == (2, 2, 0)
    # a sample of padding alone receives nothing
    mask = torch.tensor([[True] * 6, [False] * 6], device=device)
    received = attention_received(q, k, mask=mask, backend=backend)
    assert not received[1].any()
    assert float(received[0].sum()) == pytest.approx(8, rel=1e-6)


@pytest.mark.parametrize("name", ["q", "k", "lse"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_refuses_non_finite(name: str, value: float, backend: str, device: torch.device) -> None:
    q, k = (item.to(device) for item in _problem((2, 2, 2, 5, 5, 16)))
    arguments = {"q": q, "k": k, "lse": torch.zeros(2, 2, 5, device=device)}
    arguments[name][1, 1, 3] = -value if name == "lse" else value
    with pytest.raises(ValueError, match="head 1 of sample 1"):
        attention_received(**arguments, backend=backend)


Q, K = torch.zeros(2, 4, 5, 16), torch.zeros(2, 2, 5, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Q[0], K[0]), "want q"),
        ((Q, K[:1]), "want q"),
        ((Q, K[..., :8]), "want q"),
        ((Q[:, :3], K), "multiple of the 2"),
        ((Q, K[:, :, :4], None, True), "at most 4"),
        ((Q, K, torch.zeros(2, 4)), "want lse"),
        ((Q, K, None, False, torch.tensor([5])), r"\[-1, 5\)"),
        ((Q, K, None, False, torch.tensor([[0]])), "query_rows"),
        ((Q, K, None, False, torch.tensor([0.0])), "query_rows"),
        ((Q, K, None, False, None, torch.ones(2, 4, dtype=torch.bool)), "want mask"),
        ((Q, K, None, False, None, torch.ones(2, 5)), "want mask"),
    ],
)
def test_refuses(arguments, message: str, backend: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_received(*arguments, backend=backend)
