"""Token statistics on both backends, against float64."""

import sys

import pytest
import torch

from prunekernels.token_stats import COLUMNS, TokenStats, token_stats


def _exact(hidden, weight, labels, bias=None) -> TokenStats:
    logits = hidden.double() @ weight.double().T + (0 if bias is None else bias.double())
    log_p = logits.log_softmax(-1)
    own = log_p.gather(1, labels[:, None])[:, 0]
    error = log_p.exp() - torch.nn.functional.one_hot(labels, len(weight))
    entropy = -(log_p.exp() * log_p).sum(-1)
    return TokenStats(-own, entropy, log_p.exp().square().sum(-1), own.exp(), error.norm(dim=-1))


def _problem(n_tokens: int, n_words: int, n_dims: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n_tokens, n_dims, generator=generator)
    weight = torch.randn(n_words, n_dims, generator=generator) / n_dims**0.5 * 3
    labels = torch.randint(0, n_words, (n_tokens,), generator=generator)
    return hidden, weight, labels, torch.randn(n_words, generator=generator)


def test_by_hand(backend: str, device: torch.device) -> None:
    hidden = torch.tensor([[1.0], [0.0]], device=device)
    weight = torch.tensor([[0.0], [2.0]], device=device).log()
    weight[0] = 0
    stats = token_stats(hidden, weight, torch.tensor([1, 0], device=device), backend=backend)
    # softmax([0, log 2]) = [1/3, 2/3]; softmax([0, 0]) = [1/2, 1/2]
    torch.testing.assert_close(stats.p_label.cpu(), torch.tensor([2 / 3, 1 / 2]))
    torch.testing.assert_close(stats.nll.cpu(), torch.tensor([1.5, 2.0]).log())
    torch.testing.assert_close(stats.sum_p2.cpu(), torch.tensor([5 / 9, 1 / 2]))
    torch.testing.assert_close(stats.el2n.cpu(), torch.tensor([2**0.5 / 3, 0.5**0.5]))
    torch.testing.assert_close(stats.entropy.cpu(), torch.tensor([0.6365141682948128, 0.6931471805599453]))


# one word; tails of tokens, words and dims; exactly a block and one more
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 2, 5), (33, 65, 33), (32, 64, 32), (65, 129, 64), (5, COLUMNS + 1, 8)]
)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_agrees_with_float64(shape, with_bias: bool, dtype, backend: str, device: torch.device) -> None:
    hidden, weight, labels, bias = _problem(*shape)
    # the strongest word is the last one, where a missing tail shows; one label stands there too
    weight[-1] = 3 * hidden[0] / hidden[0].norm()
    labels[0] = len(weight) - 1
    arguments = [hidden.to(dtype), weight.to(dtype), labels, bias.to(dtype) if with_bias else None]
    exact = _exact(*arguments)
    stats = token_stats(*(None if item is None else item.to(device) for item in arguments), backend=backend)
    plain = _exact(*(item.float() if item is not None and item.is_floating_point() else item for item in arguments))
    for name, got, want, reference in zip(exact._fields, stats, exact, plain, strict=True):
        assert got.dtype == torch.float32
        # inputs are exact in float32, so the bound is float32's whatever the input's dtype
        bound = 2 * (reference.float() - want).abs().max() + 2e-6 * want.abs().max().clamp(min=1)
        assert (got.cpu() - want).abs().max() <= bound, name


def test_easy_tokens_do_not_cancel(backend: str, device: torch.device) -> None:
    hidden = torch.tensor([[18.0], [25.0], [40.0]], device=device)
    weight = torch.tensor([[0.0], [1.0], [0.0]], device=device)
    labels = torch.ones(3, dtype=torch.int64, device=device)
    stats = token_stats(hidden, weight, labels, backend=backend)
    # with two others at e^-z each: 1 - p_y = 2e / (1 + 2e), in which nothing cancels
    e = torch.exp(-hidden[:, 0].double())
    torch.testing.assert_close(stats.nll.double(), torch.log1p(2 * e), rtol=1e-5, atol=0)
    torch.testing.assert_close(stats.el2n.double(), 6**0.5 * e / (1 + 2 * e), rtol=1e-5, atol=0)


def test_very_wrong_tokens_stay_finite(backend: str, device: torch.device) -> None:
    hidden = torch.tensor([[1.0]], device=device)
    weight = torch.tensor([[-20000.0], [20000.0], [-20000.0]], device=device)
    stats = token_stats(hidden, weight, torch.tensor([0], device=device), backend=backend)
    assert [float(field) for field in stats] == pytest.approx([40000.0, 0.0, 1.0, 0.0, 2**0.5])


@pytest.mark.parametrize("programs", [1, 20, 264])
def test_every_slice_and_tile_of_the_vocabulary_counts(
    programs: int, backend: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["prunekernels.token_stats"], "PROGRAMS", programs)
    # the mass lies on words far apart, each a little above the one before, so that every merge of sums shows
    n_words = 2 * COLUMNS + 100
    weight = torch.full((n_words, 2), -20.0)
    weight[::97, 0] = torch.linspace(0, 2, len(weight[::97]))
    weight[::97, 1] = torch.linspace(2, 0, len(weight[::97]))
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [1.3, -0.3], [-0.3, 1.3]]).repeat(20, 1)
    labels = torch.arange(100) * 21
    exact = _exact(hidden, weight, labels)
    stats = token_stats(hidden.to(device), weight.to(device), labels.to(device), backend=backend)
    for name, got, want in zip(exact._fields, stats, exact, strict=True):
        torch.testing.assert_close(got.cpu().double(), want, rtol=1e-5, atol=1e-7, msg=name)


def test_rows_do_not_depend_on_their_mates(backend: str, device: torch.device) -> None:
    hidden, weight, labels, bias = (item.to(device) for item in _problem(70, 150, 24))
    together = token_stats(hidden, weight, labels, bias, backend=backend)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0)).to(device)
    apart = token_stats(hidden[order], weight, labels[order], bias, backend=backend)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one[order], other, rtol=1e-6, atol=1e-6)


def test_strides_and_empty(backend: str, device: torch.device) -> None:
    hidden, weight, labels, bias = (item.to(device) for item in _problem(40, 90, 40))
    labels %= 20
    rows = (hidden.T[:20, ::2], weight[::2, :20], labels[::2], bias[::2])
    columns = (hidden[:20, :40:2], weight[:20, :].T[::2, :20].mT, labels[20:].flip(0)[::1], bias[:40:2])
    for views in (rows, columns):
        dense = token_stats(*(view.contiguous() for view in views), backend=backend)
        for one, other in zip(token_stats(*views, backend=backend), dense, strict=True):
            torch.testing.assert_close(one, other)
    assert token_stats(hidden[:0], weight, labels[:0], backend=backend).nll.shape == (0,)


def test_memory_stays_bounded() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    hidden, weight, labels, _ = _problem(64, 20000, 4)
    with Watch():
        token_stats(hidden, weight, labels, backend="torch")
    # the logits have 1,280,000 numbers; a block of them 65,536
    assert largest <= 100_000


@pytest.mark.parametrize("where", ["hidden", "weight"])
def test_refuses_nan_naming_the_row(where: str, backend: str, device: torch.device) -> None:
    hidden, weight, labels, _ = (item.to(device) for item in _problem(5, 9, 4))
    (hidden if where == "hidden" else weight)[3, 1] = torch.nan
    with pytest.raises(ValueError, match="row 3" if where == "hidden" else "row 0"):
        token_stats(hidden, weight, labels, backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": torch.zeros(2, 3, 4)}, "hidden"),
        ({"weight": torch.zeros(9, 5)}, "weight"),
        ({"weight": torch.zeros(0, 4)}, "weight"),
        ({"labels": torch.tensor([0])}, "labels"),
        ({"labels": torch.tensor([0, 0, 9])}, "row 2"),
        ({"labels": torch.tensor([0, -100, 0])}, "row 1"),
        ({"bias": torch.zeros(8)}, "bias"),
    ],
)
def test_refuses(change, message: str, backend: str) -> None:
    arguments = {
        "hidden": torch.zeros(3, 4),
        "weight": torch.zeros(9, 4),
        "labels": torch.zeros(3).long(),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        token_stats(**arguments, backend=backend)
