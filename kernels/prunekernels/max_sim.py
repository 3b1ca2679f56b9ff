"""MaxSim, the score of late interaction (ColBERT, Khattab and Zaharia 2020, arXiv:2004.12832).

    max_sim(q, d) = sum over tokens i of q of  w_i max over tokens j of d of  q_i . d_j          w_i = 1 by default

Higher = more of the question's tokens have a close one in the document. Dot products, as published: rows of length 1
give cosines. No kernel: 2 Q T D FLOP in products of a block of documents with a block of questions, whose maxima are
taken while they lie in the cache; nothing grows with documents but their scores. float32 whatever the input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from prunekernels._finite import check_finite
from prunekernels._precision import full_precision
from prunekernels._products import STEP, filled, products
from prunekernels._ragged import Lengths, check_lengths, groups, maxima
from prunekernels._sums import sum_rows
from prunekernels._unit import check_rows

# products held at a time (2 MiB of float32), and tokens of questions in one product
MAX_PRODUCTS, COLUMNS = 2**19, 512


@full_precision
def max_sim(
    questions: torch.Tensor,
    documents: torch.Tensor,
    lengths: Lengths,
    question_lengths: Lengths | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Score `documents` [T, D], ragged by `lengths` [N], against `questions` [Q, D]; float32 [N].

    `questions` are the tokens of one question or, with `question_lengths` [M], of several: then [M, N]. `weights` [Q]
    are those of the questions' tokens. A document without tokens scores -inf. A score hangs on neither the order of
    the documents nor on what else is asked. No gradient. Raises ValueError for other shapes and dtypes, lengths that
    do not fit, and NaN or infinity, with the row named on a CPU.
    """
    _check(questions, documents, weights)
    sizes = check_lengths("lengths", lengths, len(documents))
    asked = [len(questions)] if question_lengths is None else question_lengths
    asked = check_lengths("question_lengths", asked, len(questions))
    check_rows("questions", questions)
    scores = torch.zeros(len(asked), len(sizes), dtype=torch.float32, device=documents.device)
    for some, rows in groups(asked, COLUMNS):
        whose = torch.arange(len(asked[some]), dtype=torch.int64, device="cpu").repeat_interleave(asked[some])
        ids = whose.to(documents.device)
        of_tokens = None if weights is None else weights[rows]
        for found, best in _best(questions[rows], documents, sizes):
            scores[some, found] = sum_of_maxima(best, of_tokens, ids, len(asked[some]))
    scores[:, (sizes == 0).to(scores.device)] = -torch.inf
    return scores[0] if question_lengths is None else scores


def sum_of_maxima(best: torch.Tensor, weights: torch.Tensor | None, ids: torch.Tensor, n: int) -> torch.Tensor:
    """[n, G]: of `best` [G, Q], one column a token, the weighted sum over the tokens of each of `n` questions.

    `ids` [Q] says whose token each is. Tokens are added one after the other; -inf counts as 0.
    """
    columns = best.T.masked_fill(best.T.isneginf(), 0)
    return sum_rows(columns if weights is None else columns * weights.float()[:, None], ids, n)


def _best(
    questions: torch.Tensor, documents: torch.Tensor, sizes: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor]]:
    """A few documents at a time, their places and the best product of each with each token: [G, Q]."""
    columns = filled(questions)
    height = max(STEP, MAX_PRODUCTS // max(len(columns), 1))
    for some, rows in groups(sizes, height):
        peak = None
        for start in range(rows.start, rows.stop, height):
            block = documents[start : min(start + height, rows.stop)]
            of_block = products(block, columns)
            _check_products(of_block, documents)
            # a document that is longer than a block comes alone
            found = maxima(of_block, sizes[some].clamp(max=len(block)))
            peak = found if peak is None else torch.maximum(peak, found)
        if peak is not None:
            yield some, peak[:, : len(questions)]


def _check_products(found: torch.Tensor, documents: torch.Tensor) -> None:
    """What is not finite in a row of the documents is in its products: fewer numbers, and still in the cache."""
    if found.is_cuda:
        check_finite("products with documents", found)
    elif not math.isfinite(found.sum()):
        check_finite("documents", documents)
        if not found.isfinite().all():
            raise ValueError("want products of questions and documents that float32 can hold, got larger ones")


def _check(questions: torch.Tensor, documents: torch.Tensor, weights: torch.Tensor | None) -> None:
    if questions.ndim != 2 or documents.ndim != 2 or questions.shape[1] != documents.shape[1]:
        raise ValueError(
            f"want questions [Q, D] and documents [T, D], got {[*questions.shape]} and {[*documents.shape]}"
        )
    if not questions.is_floating_point() or not documents.is_floating_point():
        raise ValueError(f"want floating-point questions and documents, got {questions.dtype} and {documents.dtype}")
    check_weights(weights, len(questions))


def check_weights(weights: torch.Tensor | None, n_tokens: int) -> None:
    """Raise ValueError unless `weights` are finite numbers [n_tokens]."""
    if weights is None:
        return
    if weights.shape != (n_tokens,):
        raise ValueError(f"want weights [{n_tokens}], got {[*weights.shape]}")
    check_rows("weights", weights[:, None])
