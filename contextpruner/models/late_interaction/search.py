"""Search in an index of centroids by PLAID's stages (Santhanam et al. 2022, arXiv:2205.09707, section 4 and table 2).

    1  candidates: the documents with a token in one of the `n_probe` nearest cells of a token of the question
    2  n_documents by centroid interaction over tokens whose centroid reaches `threshold` with a token of the question
    3  of these a quarter, and no fewer than top_k, by centroid interaction over all of their tokens
    4  of these top_k, by MaxSim of the tokens as residuals bring them back

A stage that would drop nothing is left out. Without residuals stage 3 has the last word. Two things differ from PLAID,
so that no choice hangs on the order of documents: what ties with the last that a stage keeps is kept as well, and cells
of stage 1 reach any threshold, where a model's cosines are lower than ColBERT's and candidates would be left without a
token. Among the top_k ties go to the lower document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from contextpruner.models.late_interaction.arrays import Array, rows_of_width
from contextpruner.models.late_interaction.centroid_index import CentroidIndex
from prunekernels import binary_codes, select
from prunekernels._precision import full_precision
from prunekernels._products import filled, products
from prunekernels._ragged import groups, rows_of
from prunekernels._unit import check_rows
from prunekernels.centroid_interaction import centroid_interaction
from prunekernels.max_sim import max_sim

# tokens that are brought back from their residuals at a time
ROWS = 2**12


@dataclass(frozen=True)
class SearchSettings:
    """How much each stage keeps. A threshold of None prunes no centroid."""

    n_probe: int
    threshold: float | None
    n_documents: int

    def __post_init__(self) -> None:
        if self.n_probe < 1 or self.n_documents < 1:
            raise ValueError(f"want n_probe and n_documents of at least 1, got {self.n_probe} and {self.n_documents}")
        if self.threshold is not None and self.threshold != self.threshold:
            raise ValueError("want a threshold or None, got NaN")


def plaid_settings(top_k: int) -> SearchSettings:
    """PLAID's own by how many documents are wanted."""
    if top_k <= 10:
        return SearchSettings(1, 0.5, 256)
    return SearchSettings(2, 0.45, 1024) if top_k <= 100 else SearchSettings(4, 0.4, max(4 * top_k, 4096))


class Found(NamedTuple):
    """`documents` int64 [n], the best first, and their `scores` float32 [n]; n is top_k or what there is."""

    documents: Array
    scores: Array


@full_precision
def search(index: CentroidIndex, question: Array, top_k: int = 10, settings: SearchSettings | None = None) -> Found:
    """The `top_k` documents for `question` [Q, D]; arrays of the kind that the index was built of.

    Fewer come back where no more have a token in a cell that was probed. Raises ValueError for other shapes, a top_k
    under 1, and NaN or infinity in the question, with the row named.
    """
    if top_k < 1:
        raise ValueError(f"want top_k of at least 1, got {top_k}")
    settings = settings or plaid_settings(top_k)
    asked = _asked(index, question)
    similarities = _similarities(index, asked)
    cells = _probed(similarities, settings.n_probe)
    found = index.members[rows_of(index.cell_sizes.cpu(), cells.cpu()).to(index.members.device)].unique().cpu()
    if settings.threshold is not None and len(found) > settings.n_documents:
        is_kept = similarities.amax(1) >= settings.threshold
        is_kept[cells] = True
        scores = _interaction(index, found, similarities, is_kept)
        found = found[_reaching(scores, settings.n_documents).cpu()]
    n_last = max(settings.n_documents // 4, top_k)
    if len(found) > n_last or not index.weights.numel():
        scores = _interaction(index, found, similarities)
        kept = _reaching(scores, n_last)
        found, scores = found[kept.cpu()], scores[kept]
    if index.weights.numel():
        scores = _exact(index, found, asked)
    order = scores.sort(descending=True, stable=True).indices[:top_k]
    best = found.to(scores.device)[order]
    return Found(*((each.cpu().numpy() for each in (best, scores[order])) if index.is_numpy else (best, scores[order])))


@full_precision
def centroid_scores(index: CentroidIndex, question: Array, binary: bool = False) -> Array:
    """Centroid interaction of `question` [Q, D] with every document, float32 [N]; -inf for an empty one.

    `binary`: how many bits of the centroids' numbers agree with those of the question tokens' centroids, HPC-ColPali's
    Hamming form, in place of the cosine.
    """
    asked = _asked(index, question)
    similarities = _similarities(index, asked)
    if binary and len(index.centroids):
        n_bits = max(1, (len(index.centroids) - 1).bit_length())
        every = torch.arange(len(index.centroids), dtype=torch.int64, device=asked.device)
        numbers = binary_codes.numbers(every, len(index.centroids))
        similarities = binary_codes.agreeing(numbers, numbers[similarities.argmax(0)], n_bits)
    scores = centroid_interaction(similarities, index.codes, index.lengths)
    return scores.cpu().numpy() if index.is_numpy else scores


def _asked(index: CentroidIndex, question: Array) -> torch.Tensor:
    asked = rows_of_width("question", question, index.centroids.shape[1])
    check_rows("question", asked)
    return asked.to(index.centroids.device, torch.float32)


def _similarities(index: CentroidIndex, asked: torch.Tensor) -> torch.Tensor:
    return products(index.centroids, filled(asked))[:, : len(asked)]


def _probed(similarities: torch.Tensor, n_probe: int) -> torch.Tensor:
    """The cells that are among the `n_probe` nearest of some token of the question, ascending."""
    left, is_probed = similarities.clone(), torch.zeros(len(similarities), dtype=torch.bool, device=similarities.device)
    if similarities.numel():
        # a few passes for the largest take less than one sort
        for _ in range(min(n_probe, len(left))):
            nearest = left.argmax(0)
            is_probed[nearest] = True
            left[nearest, torch.arange(left.shape[1], dtype=torch.int64, device=left.device)] = -torch.inf
    return is_probed.nonzero().flatten()


def _reaching(scores: torch.Tensor, n: int) -> torch.Tensor:
    """The places of the `n` best and of all that tie with the last of them, ascending."""
    if n >= len(scores):
        return torch.arange(len(scores), dtype=torch.int64, device=scores.device)
    return select.threshold(scores, float(scores.kthvalue(len(scores) - n + 1).values))


def _interaction(
    index: CentroidIndex, documents: torch.Tensor, similarities: torch.Tensor, is_kept: torch.Tensor | None = None
) -> torch.Tensor:
    """The scores of `documents`, over the tokens of kept cells alone where that is said."""
    codes = index.codes[rows_of(index.lengths, documents).to(index.codes.device)]
    return centroid_interaction(similarities, codes, index.lengths[documents], is_kept=is_kept)


def _exact(index: CentroidIndex, documents: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """MaxSim over the tokens as the index knows them, a few documents at a time."""
    sizes = index.lengths[documents]
    rows = rows_of(index.lengths, documents).to(index.codes.device)
    found = [max_sim(asked, index.vectors(rows[some]), sizes[which]) for which, some in groups(sizes, ROWS)]
    return torch.cat(found) if found else asked.new_zeros(0)
