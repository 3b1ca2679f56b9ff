"""What a language model's head says of each token: one pass over the vocabulary, no logits stored whole.

With logits z = weight h + bias and p = softmax(z), per token with label y:

    nll = -log p_y      entropy = -sum_v p_v log p_v      sum_p2 = sum_v p_v^2      p_label = p_y
    el2n = ||p - onehot(y)||_2 = sqrt(sum_{v != y} p_v^2 + (1 - p_y)^2)

The label stays out of the running sums and is joined at the end, so that nothing cancels on easy tokens, where
1 - p_y is below the rounding of p_y. Perplexity is exp of a document's mean nll; el2n is the score of Paul et
al. 2021 (arXiv:2107.07075) with the vocabulary as classes. Floor: the head's own 2 T V D FLOP; blocks of
logits live in cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from prunekernels._backend import Backend, is_interpreting, jit, limits, use_triton
from prunekernels._precision import full_precision

if TYPE_CHECKING:
    import triton.language as tl

# the running maximum starts here and a label's own column is set far below it, both finite: inf - inf is NaN
LOWEST, LABEL = -1e30, -1e35

# 4 MiB of float32 logits at a time: measured fastest on a CPU, between too small a product and leaving the cache
ROWS, COLUMNS = 1024, 1024

# rows are filled up to whole multiples: a product of few rows is rounded in another order than one of many
ROW_STEP = 16

# programs that fill a large GPU twice over; with few tokens the vocabulary is cut into slices to get there
PROGRAMS = 264


class TokenStats(NamedTuple):
    """Each field float32 [T]; nll and entropy in nats."""

    nll: torch.Tensor
    entropy: torch.Tensor
    sum_p2: torch.Tensor
    p_label: torch.Tensor
    el2n: torch.Tensor


@full_precision
def token_stats(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> TokenStats:
    """Statistics of `hidden` [T, D] under the head `weight` [V, D] (and `bias` [V]) for whole `labels` [T].

    bfloat16, float16 and float32 in, also mixed; products and sums in float32, no gradient. Raises ValueError for
    other shapes and dtypes, a label outside [0, V), and for a row whose logits have NaN or infinity.
    """
    _check(hidden, weight, labels, bias)
    # the dtype that holds both
    dtype = torch.promote_types(hidden.dtype, weight.dtype)
    hidden, weight, labels = hidden.to(dtype), weight.to(dtype), labels.long()
    run = token_stats_triton if use_triton(hidden, backend) and len(hidden) else token_stats_torch
    stats = run(hidden, weight, labels, bias)
    bad = ~(stats.nll.isfinite() & stats.entropy.isfinite())
    if bad.any():
        raise ValueError(f"row {int(bad.nonzero()[0])}: its logits have NaN or infinity")
    return TokenStats(*(field.float() for field in stats))


def token_stats_torch(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, bias: torch.Tensor | None = None
) -> TokenStats:
    """Reference: the sums over v != y block by block, each block relative to the running maximum."""
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    parts = []
    for first in range(0, len(hidden), ROWS):
        rows, label = hidden[first : first + ROWS].to(dtype), labels[first : first + ROWS, None]
        n_rows = len(rows)
        rows, label = (torch.nn.functional.pad(each, (0, 0, 0, -n_rows % ROW_STEP)) for each in (rows, label))
        peak = torch.full_like(rows[:, :1], LOWEST)
        other, square, spread, own = (torch.zeros_like(peak) for _ in range(4))
        for column in range(0, len(weight), COLUMNS):
            logits = rows @ weight[column : column + COLUMNS].to(dtype).T
            if bias is not None:
                logits += bias[column : column + COLUMNS]
            here = (label >= column) & (label < column + logits.shape[1])
            local = (label - column).clamp(0, logits.shape[1] - 1)
            own = torch.where(here, logits.gather(1, local), own)
            logits.scatter_(1, local, torch.where(here, LABEL, logits.gather(1, local)))
            new_peak = torch.maximum(peak, logits.amax(1, keepdim=True))
            shift, scale = peak - new_peak, (peak - new_peak).exp()
            exponentials = logits.sub_(new_peak).exp()
            # spread is sum e^(z - peak) (z - peak): what entropy needs beside the sum itself
            spread = scale * (spread + shift * other) + torch.linalg.vecdot(exponentials, logits)[:, None]
            other = scale * other + exponentials.sum(1, keepdim=True)
            square = scale**2 * square + torch.linalg.vecdot(exponentials, exponentials)[:, None]
            peak = new_peak
        parts.append(torch.cat([peak, other, square, spread, own], 1)[:n_rows])
    sums = torch.cat(parts) if parts else hidden.new_zeros(0, 5, dtype=dtype)
    return _join(sums.T[:4, None], sums.T[4])


def _join(sums: torch.Tensor, own: torch.Tensor) -> TokenStats:
    """Statistics from [4, S, T] sums over S parts of the vocabulary without the label, and its logit `own` [T]."""
    peak, other, square, spread = sums
    top = torch.maximum(peak.amax(0), own)
    shift, scale = peak - top, (peak - top).exp()
    spread = (scale * (spread + shift * other)).sum(0)
    other, square = (scale * other).sum(0), (scale**2 * square).sum(0)
    label = (own - top).exp()
    total = other + label
    # where the label is on top, total is 1 + other, and log1p keeps what the sum would round away
    log_total = torch.where(own == top, other.log1p(), total.log())
    return TokenStats(
        nll=top - own + log_total,
        entropy=(log_total - (spread + label * (own - top)) / total).clamp(min=0),
        sum_p2=(square + label**2) / total**2,
        p_label=label / total,
        el2n=(square + other**2).sqrt() / total,
    )


def _check(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, bias: torch.Tensor | None) -> None:
    shapes_fit = hidden.ndim == 2 and weight.ndim == 2 and hidden.shape[1] == weight.shape[1]
    if not shapes_fit or labels.shape != hidden.shape[:1] or not len(weight):
        raise ValueError(
            f"want hidden [T, D], weight [V, D] and labels [T], got {[*hidden.shape]}, {[*weight.shape]} "
            f"and {[*labels.shape]}"
        )
    floating = all(item.is_floating_point() for item in (hidden, weight, *(() if bias is None else (bias,))))
    if not floating or labels.dtype.is_floating_point or labels.dtype in (torch.bool, torch.complex64):
        raise ValueError(
            f"want hidden, weight and bias of floating point and whole labels, got {hidden.dtype}, {weight.dtype}"
            f"{'' if bias is None else f', {bias.dtype}'} and {labels.dtype}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"want bias [{len(weight)}], got {[*bias.shape]}")
    # a narrow label compared with more words than it can count to is compared with what is left of their number
    labels = labels.long()
    bad = (labels < 0) | (labels >= len(weight))
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(f"row {row}: want a label in [0, {len(weight)}), got {int(labels[row])}")


def token_stats_triton(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, bias: torch.Tensor | None = None
) -> TokenStats:
    """One program for a tile of tokens and a slice of the vocabulary; the slices are joined in a fixed order."""
    if hidden.dtype == torch.float64:
        hidden, weight = hidden.float(), weight.float()
    n_tokens, n_words = len(hidden), len(weight)
    tile_t, tile_v, tile_d, warps = _tiles(hidden)
    tiles = -(-n_words // tile_v)
    slices = min(tiles, max(1, PROGRAMS * tile_t // n_tokens))
    tiles_per_slice = -(-tiles // slices)
    slices = -(-tiles // tiles_per_slice)
    sums = torch.empty(slices, 4, n_tokens, dtype=torch.float32, device=hidden.device)
    own = torch.empty(n_tokens, dtype=torch.float32, device=hidden.device)
    _token_stats_kernel[(-(-n_tokens // tile_t), slices)](
        hidden, weight, labels, weight if bias is None else bias, sums, own,
        n_tokens, n_words, hidden.shape[1], tiles_per_slice,
        hidden.stride(0), hidden.stride(1), weight.stride(0), weight.stride(1), labels.stride(0),
        1 if bias is None else bias.stride(0), HAS_BIAS=bias is not None,
        TILE_T=tile_t, TILE_V=tile_v, TILE_D=tile_d, LOWEST=LOWEST, LABEL=LABEL,
        # the interpreter's dot multiplies the bits of a bfloat16 as if they were a whole number
        WIDEN=is_interpreting(), num_warps=warps,
    )  # fmt: skip
    return _join(sums.transpose(0, 1), own)


def _tiles(hidden: torch.Tensor) -> tuple[int, int, int, int]:
    """Tokens, words and dims that a program multiplies at a time, and its warps."""
    capability = limits(hidden).capability
    # before 8.0 halves are multiplied like float32; the units of 9.0 and 10.0 take larger tiles before registers spill
    if hidden.dtype.itemsize == 2 and capability >= (8, 0):
        return 128 if (9, 0) <= capability < (12, 0) else 64, 128, 64, 8
    return 32, 64, 32, 4


@jit
def _token_stats_kernel(  # type: ignore[no-untyped-def]
    hidden, weight, labels, bias, sums, own, n_tokens, n_words, n_dims, tiles_per_slice,
    stride_ht, stride_hd, stride_wv, stride_wd, stride_l, stride_b, HAS_BIAS: tl.constexpr,
    TILE_T: tl.constexpr, TILE_V: tl.constexpr, TILE_D: tl.constexpr, LOWEST: tl.constexpr, LABEL: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    tokens = tl.program_id(0).to(tl.int64) * TILE_T + tl.arange(0, TILE_T)
    part = tl.program_id(1).to(tl.int64)
    is_token = tokens < n_tokens
    label = tl.load(labels + tokens * stride_l, mask=is_token, other=-1)
    peak = tl.full([TILE_T], LOWEST, tl.float32)
    other = tl.zeros([TILE_T], tl.float32)
    square = tl.zeros([TILE_T], tl.float32)
    spread = tl.zeros([TILE_T], tl.float32)
    for tile in range(0, tiles_per_slice):
        words = (part * tiles_per_slice + tile) * TILE_V + tl.arange(0, TILE_V)
        is_word = words < n_words
        logits = tl.zeros([TILE_T, TILE_V], tl.float32)
        for first in range(0, n_dims, TILE_D):
            dims = first + tl.arange(0, TILE_D)
            is_dim = dims < n_dims
            h = tl.load(
                hidden + tokens[:, None] * stride_ht + dims[None, :] * stride_hd,
                mask=is_token[:, None] & is_dim[None, :], other=0.0,
            )  # fmt: skip
            w = tl.load(
                weight + words[None, :] * stride_wv + dims[:, None] * stride_wd,
                mask=is_word[None, :] & is_dim[:, None], other=0.0,
            )  # fmt: skip
            if WIDEN:
                h, w = h.to(tl.float32), w.to(tl.float32)
            logits = tl.dot(h, w, logits, input_precision="ieee")
        if HAS_BIAS:
            logits += tl.load(bias + words * stride_b, mask=is_word, other=0.0).to(tl.float32)[None, :]
        is_label = words[None, :] == label[:, None]
        found = tl.sum(is_label.to(tl.int32), 1) > 0
        tl.store(own + tokens, tl.sum(tl.where(is_label, logits, 0.0), 1), mask=is_token & found)
        logits = tl.where(is_word[None, :] & (words[None, :] != label[:, None]), logits, LABEL)
        new_peak = tl.maximum(peak, tl.max(logits, 1))
        shift = peak - new_peak
        scale = tl.exp(shift)
        logits -= new_peak[:, None]
        exponentials = tl.exp(logits)
        spread = scale * (spread + shift * other) + tl.sum(exponentials * logits, 1)
        other = scale * other + tl.sum(exponentials, 1)
        square = scale * scale * square + tl.sum(exponentials * exponentials, 1)
        peak = new_peak
    place = sums + 4 * part * n_tokens + tokens
    step = tl.full([], 1, tl.int64) * n_tokens
    tl.store(place, peak, mask=is_token)
    tl.store(place + step, other, mask=is_token)
    tl.store(place + 2 * step, square, mask=is_token)
    tl.store(place + 3 * step, spread, mask=is_token)
