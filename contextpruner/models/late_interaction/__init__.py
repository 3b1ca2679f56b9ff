"""Late interaction over arrays of token vectors: exact scores, an index of centroids, and what it keeps.

    max_sim            exact scores of all documents
    build_index        centroid codes, with residuals of 1, 2 or 4 bits (PLAID) or without (HPC-ColPali)
    search             the best documents of an index by PLAID's stages; plaid_settings: its defaults
    centroid_scores    centroid interaction with every document, or agreeing bits of codes
    salient_tokens     which tokens an index keeps, by attention

Arrays are numpy or torch, one document after the other, or a list (`arrays`). The primitives stand in `prunekernels`:
`max_sim`, `centroid_interaction`, `residual_codes`, `binary_codes`, `kmeans`, `pool`.
"""

from contextpruner.models.late_interaction.centroid_index import CentroidIndex, build_index
from contextpruner.models.late_interaction.centroids import IndexSettings
from contextpruner.models.late_interaction.salient_tokens import salient_tokens
from contextpruner.models.late_interaction.scores import max_sim
from contextpruner.models.late_interaction.search import (
    Found,
    SearchSettings,
    centroid_scores,
    plaid_settings,
    search,
)

__all__ = [
    "CentroidIndex",
    "Found",
    "IndexSettings",
    "SearchSettings",
    "build_index",
    "centroid_scores",
    "max_sim",
    "plaid_settings",
    "salient_tokens",
    "search",
]
