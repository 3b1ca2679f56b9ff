"""Fashion-MNIST, all 60,000 images: published selections against draws, with right labels and with a fifth wrong.

    apt install dataset-fashion-mnist
    PYTHONPATH=.:kernels python -m benchmarks.studies.fashion_mnist --out FOLDER [--small] [--data FOLDER]

An MLP on the pixels is the proxy, and leaves what scorers read: logits of five short trainings (EL2N, GraNd), a record
of one of twelve epochs (forgetting, AUM, DUAL), out-of-fold logits (label errors), and its features behind an epoch, by
which prototypes, moderate and D2 go. A CNN of the same accuracy takes eight times as long on a CPU. Labels are wrong
for the scorers as they are for the trainings; the test set's are right.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from benchmarks.studies.features import proxy_features
from benchmarks.studies.study import Sizes, StudyRow, arguments, finish, run, study_rows
from datapruner import Candidate, Evaluation, Rule, Source
from datapruner.evaluation.settings import Observe, Seeds

# where Debian's package puts them
DATA = Path("/usr/share/datasets/fashion-mnist")
RATIOS, SMALL_RATIOS = (0.05, 0.1, 0.3, 0.6, 0.9), (0.1, 0.3, 0.6)
SMALL, RECORDED = Sizes(3000, 1000, 150, 3), Sizes(60_000, 10_000, 2000, 5)
NOISE = 0.2
SMALL_MLP = "mlp:vectors=pixels,width=64,batch_size=64"
MLP = "mlp:vectors=pixels,width=256,batch_size=128"


def images(folder: Path, part: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `n` images of "train" or "t10k", float32 [n, 784] in [0, 1], and their labels int64 [n]."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)[:n]
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)[:n]
    return pixels.astype(np.float32) / 255, labels.astype(np.int64)


def wrong_labels(labels: np.ndarray, share: float, classes: int, seed: int = 0) -> np.ndarray:
    """`labels` of which `share` are drawn anew among the other classes."""
    draw = np.random.default_rng(seed)
    chosen = draw.permutation(len(labels))[: round(share * len(labels))]
    changed = labels.copy()
    changed[chosen] = (changed[chosen] + draw.integers(1, classes, len(chosen))) % classes
    return changed


def candidates(is_noisy: bool) -> tuple[Candidate, ...]:
    """The selections at what their papers recommend; where labels are wrong the coverage-centric one cuts the hardest.

    A tenth, so that something is left to choose from at 90 %.
    """
    beta = 0.1 if is_noisy else 0.0
    rules = {
        "EL2N, hardest": Rule("top", "el2n"),
        "GraNd, hardest": Rule("top", "grand"),
        "forgetting, most": Rule("top", "forgetting"),
        "AUM, lowest": Rule("bottom", "aum"),
        "DUAL in its window": Rule("beta_window", "dual"),
        "coverage-centric by AUM": Rule(f"coverage_centric:beta={beta},hard=low", "aum"),
        "prototypes": Rule("prototypes", "prototypicality"),
        "moderate": Rule("moderate"),
        "D2 by forgetting": Rule("message_passing", "forgetting"),
        "calibrated by EL2N": Rule("calibrated:alpha=0.3", "el2n"),
        "EL2N, middle": Rule("middle", "el2n"),
        "label errors last": Rule("top", "label_error"),
        "calibrated by label errors": Rule("calibrated:alpha=0.5", "label_error"),
    }
    return tuple(Candidate(name, (rule,)) for name, rule in rules.items())


def study(data: Path, out: Path, sizes: Sizes, is_noisy: bool, is_small: bool) -> Evaluation:
    """One setting of the files in `data`."""
    proxy = SMALL_MLP if is_small else MLP
    corpora = []
    for part, n in (("train", sizes.rows), ("t10k", sizes.test_rows)):
        pixels, labels = images(data, part, n)
        if is_noisy and part == "train":
            labels = wrong_labels(labels, NOISE, 10)
        rows = {"id": [f"{part}-{row}" for row in range(len(labels))], "pixels": pixels, "label": labels}
        corpora.append(Source(rows, text=None, uid="id", label="label"))
    features = proxy_features(corpora[0], proxy, out / "features.npz", epochs=1)
    return Evaluation(
        corpora[0],
        corpora[1],
        proxy,
        candidates(is_noisy),
        scorers=(
            f"embedding=array:path={features},normalize=false", "prototypicality:k=10", "el2n", "grand", "forgetting",
            "aum", "dual", "label_error",
        ),
        keep_ratios=SMALL_RATIOS if is_small else RATIOS,
        baselines=("stratified", "rs2"),
        steps=sizes.steps,
        seeds=Seeds(sizes.seeds),
        observe=Observe(epochs=12, early=2, runs=5),
    )  # fmt: skip


def main() -> None:
    options, sizes = arguments(__doc__, SMALL, RECORDED, "data?")
    rows: list[StudyRow] = []
    for setting, is_noisy in (("right labels", False), (f"{NOISE:.0%} wrong labels", True)):
        out = options.out / setting.replace(" ", "-").replace("%", "")
        rows += study_rows(
            setting, run(study(options.data or DATA, out, sizes, is_noisy, options.small), out / "evaluation")
        )
    finish("fashion_mnist", rows, options.is_recorded)


if __name__ == "__main__":
    main()
