"""How long it takes to pool the vectors of a page, beside the two published forms, and how near pooled vectors are.

    python -m benchmarks.page_pooling                about half a minute
    ... --factors 9 --no-record                      a first look, neither tested first nor recorded

Pages are 1,030 vectors of 128 numbers, ColPali's: drawn ones around 120 centres, and 1,024 patches of a photograph
(DINOv2-S of the demo, turned into 128 dimensions at random). The peers call scipy's Ward linkage as the packages do,
colpali-engine with the whole matrix of 1 - cos as points, PyLate with its upper half as distances. Similarity is the
mean cosine of a vector to the one that stands for it. Ours and a peer are timed in turn, everything included.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.harness import Repeats, Timing, measure_in_turn, quantiles, record, require_green
from prunekernels.pool import PoolMethod, pool

TESTS = ("tests/kernels/test_pool.py", "tests/tokenpruner/models/test_page_embeddings.py", "tests/test_page_pooling.py")
N, WIDTH, CENTRES = 1030, 128, 120
FACTORS = (3, 9, 25, 49)
# what the linkage of a whole matrix is to be beaten by
TARGET = 10.0


@dataclasses.dataclass(frozen=True)
class Row:
    """One method beside one published form."""

    page: str
    factor: int
    method: str
    published: str
    vectors: int
    ours_ms: Timing
    published_ms: Timing
    speed_up: float
    similarity: float
    published_similarity: float
    target: str


def drawn(n: int = N) -> torch.Tensor:
    """Directions around centres, some of which have many and some few."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(CENTRES, WIDTH, generator=draw)
    own = (CENTRES * torch.rand(n, generator=draw) ** 2).long()
    return F.normalize(centres[own] + 0.7 * torch.randn(n, WIDTH, generator=draw), dim=1)


def photographed() -> torch.Tensor:
    """32 x 32 patches of a photograph, as a tower sees them."""
    from PIL import Image
    from transformers import Dinov2Model

    from demo.assets import dinov2, photos

    photo = Image.open(photos()["temple"]).convert("RGB").resize((448, 448))
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        patches = Dinov2Model.from_pretrained(dinov2(), dtype=torch.float32).eval()(pixels).last_hidden_state[0, 1:]
    turn = torch.randn(patches.shape[1], WIDTH, generator=torch.Generator().manual_seed(0))
    return F.normalize(patches.clone() @ turn, dim=1)


def colpali_engine(vectors: torch.Tensor, factor: int) -> torch.Tensor:
    """The form of its HierarchicalTokenPooler: labels from 1."""
    from scipy.cluster.hierarchy import fcluster, linkage

    distances = 1 - torch.mm(vectors, vectors.t()).numpy()
    merges = linkage(distances, metric="euclidean", method="ward")
    labels = torch.from_numpy(fcluster(merges, max(len(vectors) // factor, 1), criterion="maxclust"))
    pooled = [F.normalize(vectors[labels == label].mean(0), dim=-1) for label in range(1, int(labels.max()) + 1)]
    torch.stack(pooled)
    return labels


def pylate(vectors: torch.Tensor, factor: int) -> torch.Tensor:
    """The form of its pool_embeddings_hierarchical: labels from 1."""
    from scipy.cluster.hierarchy import fcluster, linkage

    distances = (1 - torch.mm(vectors, vectors.t())).numpy()
    merges = linkage(distances[np.triu_indices(len(vectors), 1)], method="ward")
    labels = torch.from_numpy(fcluster(merges, max(len(vectors) // factor, 1), criterion="maxclust"))
    torch.stack([vectors[labels == label].mean(0) for label in range(1, int(labels.max()) + 1)])
    return labels


PUBLISHED: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {"colpali-engine": colpali_engine, "PyLate": pylate}
PAIRS: tuple[tuple[PoolMethod, str], ...] = (
    ("colpali", "colpali-engine"), ("hierarchical", "colpali-engine"), ("kmeans", "colpali-engine"),
    ("hierarchical", "PyLate"), ("pylate", "PyLate"),
)  # fmt: skip


def similarity(vectors: torch.Tensor, labels: torch.Tensor) -> float:
    """The mean cosine of each vector to the direction of its cluster's mean."""
    sums = torch.zeros(int(labels.max()) + 1, vectors.shape[1]).index_add_(0, labels.long(), vectors)
    return float((vectors * F.normalize(sums, dim=1)[labels.long()]).sum(1).double().mean())


def row(page: str, vectors: torch.Tensor, factor: int, method: PoolMethod, published: str, seconds: float) -> Row:
    """Time `method` and a published form in turn."""
    ours, theirs = pool(vectors, factor, method), PUBLISHED[published](vectors, factor)
    runs = (lambda: pool(vectors, factor, method), lambda: PUBLISHED[published](vectors, factor))
    own, other = map(quantiles, measure_in_turn(runs, [()], Repeats(1, 20, seconds)))
    near, published_near = similarity(vectors, ours.assignment), similarity(vectors, theirs)
    speed_up = other.p50 / own.p50
    target = ""
    if published == "colpali-engine" and factor == 9 and method != "kmeans":
        # single precision of a mean of cosines
        is_met = speed_up >= TARGET and near >= published_near - 1e-4
        target = f"{TARGET:.0f} x, as similar {'met' if is_met else 'missed'}"
    facts = (len(ours.vectors), own, other, speed_up, near, published_near, target)
    return Row(page, factor, method, published, *facts)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", default=",".join(map(str, FACTORS)), help="by commas")
    parser.add_argument("--seconds", type=float, default=0.8, help="for a method and its peer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args(words)
    if not options.no_record:
        require_green(TESTS)
    torch.set_num_threads(options.threads)
    # scipy wonders about the matrix that colpali-engine hands it
    warnings.filterwarnings("ignore", message=".*uncondensed distance matrix.*")
    rows = []
    for page, vectors in (("drawn", drawn()), ("photograph", photographed())):
        for factor in map(int, options.factors.split(",")):
            for method, published in PAIRS:
                rows.append(row(page, vectors, factor, method, published, options.seconds))
                print(rows[-1], flush=True)
    if not options.no_record:
        print(record("page_pooling", rows))


if __name__ == "__main__":
    main()
