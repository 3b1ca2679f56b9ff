"""CIFAR-10's first 10,000 with labels that people gave: wrong labels found, and accuracy after pruning.

    PYTHONPATH=.:kernels python -m benchmarks.studies.cifar --images cifar10_10k.npz --scores published.npz --out FOLDER
    ... [--vectors VECTORS.npz] [--small]

The file of images has train_jpeg, train_offset, train_label, the same of test, and labels of CIFAR-10N (n_worse_label,
...): JPEGs one after another, in the order of the data set. The labels that are learned are CIFAR-10N's; those of the
data set say which of them are wrong. `--vectors` has `vectors` and `uids` ("train-0", "test-0", ...), embeddings of any
tower, and a linear probe on them judges; without it a small CNN does. `--scores` has el2n_epoch1 and grand_epoch1 of
published trainings, whose rank correlation stands beside that of ours.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import record
from benchmarks.studies.study import Sizes, StudyRow, arguments, finish, run, study_rows
from datapruner import Candidate, Evaluation, Rule, ScoreTable, Source
from datapruner.evaluation.settings import Observe, Seeds
from prunekernels.extras import require

SMALL, RECORDED = Sizes(1200, 500, 150, 3), Sizes(10_000, 5_000, 2000, 5)
SMALL_CNN, CNN = "cnn:size=16,width=8,batch_size=64", "cnn:size=32,width=32,batch_size=128"
RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9)
LABELS = {"9 % wrong labels": "n_aggre_label", "40 % wrong labels": "n_worse_label"}


@dataclass(frozen=True)
class FoundRow:
    """How well wrong labels are told from right ones by a score (AUROC), and how ours and published scores agree."""

    labels: str
    wrong: float
    auroc_label_error: float
    auroc_el2n: float
    auroc_aum: float
    spearman_el2n_grand: float
    published_el2n_grand: float


def corpora(path: Path, sizes: Sizes, label: str) -> tuple[Source, Source, np.ndarray]:
    """Images with people's labels, others with the data set's, and which of the first are wrong, bool [n]."""
    found, is_wrong = [], np.zeros(0, bool)
    with np.load(path, allow_pickle=False) as file:
        for part, n in (("train", sizes.rows), ("test", sizes.test_rows)):
            jpeg, offset, right = (
                file[f"{part}_jpeg"],
                file[f"{part}_offset"],
                file[f"{part}_label"].astype(np.int64)[:n],
            )
            labels = file[label].astype(np.int64)[:n] if part == "train" else right
            if part == "train":
                is_wrong = labels != right
            images = [jpeg[offset[row] : offset[row + 1]].tobytes() for row in range(len(right))]
            rows = {"id": [f"{part}-{row}" for row in range(len(right))], "image": images, "label": labels}
            found.append(Source(rows, text=None, uid="id", label="label", image="image"))
    return found[0], found[1], is_wrong


def study(vectors_file: Path | None, corpora: tuple[Source, Source], sizes: Sizes, is_small: bool) -> Evaluation:
    """Selections that should, and one that should not, stand wrong labels."""
    proxy = SMALL_CNN if is_small else CNN
    vectors: tuple[str, ...] = ()
    if vectors_file is not None:
        proxy, vectors = "linear_probe:batch_size=128", (f"embedding=array:path={vectors_file}",)
    rules = {
        "label errors last": Rule("top", "label_error"),
        "EL2N, hardest": Rule("top", "el2n"),
        "EL2N, easiest": Rule("bottom", "el2n"),
        "AUM, highest": Rule("top", "aum"),
        "coverage-centric by AUM": Rule("coverage_centric:beta=0.1,hard=low", "aum"),
        "calibrated by label errors": Rule("calibrated:alpha=0.5", "label_error"),
        "DUAL in its window": Rule("beta_window", "dual"),
    }
    return Evaluation(
        *corpora,
        proxy,
        tuple(Candidate(name, (rule,)) for name, rule in rules.items()),
        scorers=(*vectors, "label_error", "el2n", "grand", "aum", "dual"),
        keep_ratios=(0.3, 0.7) if is_small else RATIOS,
        baselines=("stratified", "rs2"),
        steps=sizes.steps,
        seeds=Seeds(sizes.seeds),
        observe=Observe(epochs=12, early=2, runs=2 if is_small else 10),
    )


def found_errors(setting: str, table: ScoreTable, is_wrong: np.ndarray, published: Path) -> FoundRow:
    """Low label_error and AUM, and high EL2N, should be wrong labels."""
    metrics, stats = require("sklearn.metrics", "data"), require("scipy.stats", "data")

    def auroc(scores: np.ndarray) -> float:
        return float(metrics.roc_auc_score(is_wrong, scores))

    with np.load(published, allow_pickle=False) as file:
        theirs = stats.spearmanr(file["el2n_epoch1"].astype(np.float64), file["grand_epoch1"].astype(np.float64))
    ours = stats.spearmanr(table.scores("el2n"), table.scores("grand"))
    return FoundRow(
        setting,
        float(is_wrong.mean()),
        auroc(-table.scores("label_error")),
        auroc(table.scores("el2n")),
        auroc(-table.scores("aum")),
        float(ours.statistic),
        float(theirs.statistic),
    )


def main() -> None:
    options, sizes = arguments(__doc__, SMALL, RECORDED, "images", "scores", "vectors?")
    rows: list[StudyRow] = []
    found: list[FoundRow] = []
    for setting, label in LABELS.items():
        train, test, is_wrong = corpora(options.images, sizes, label)
        out = options.out / label
        result = run(study(options.vectors, (train, test), sizes, options.small), out)
        rows += study_rows(setting, result)
        found.append(found_errors(setting, ScoreTable(out / "scores-0"), is_wrong, options.scores))
        print(dataclasses.asdict(found[-1]))
    finish("cifar", rows, options.is_recorded)
    if options.is_recorded:
        print(record("study_cifar_label_errors", found))


if __name__ == "__main__":
    main()
