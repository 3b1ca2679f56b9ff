"""The published shape in seconds: scikit-learn's 1,797 digits, a linear probe, five seeds.

    PYTHONPATH=.:kernels python -m benchmarks.studies.digits --out FOLDER

Hard rows by EL2N lose badly to a draw where little is kept and do not where much is; coverage-centric selections, and
calibrated ones inside each class, hold their own at 10 %. Calibrated over all classes at once the hard part is of a
few of them, and a point behind the draw. `tests/datapruner/evaluation/test_digits.py` asserts the first three.
"""

from __future__ import annotations

import numpy as np

from benchmarks.studies.study import Sizes, arguments, finish, run, study_rows
from datapruner import Candidate, Evaluation, Rule, Source
from datapruner.evaluation.settings import Observe, Seeds
from prunekernels.extras import require

SIZES = Sizes(1200, 597, 100, 5)


def corpora(sizes: Sizes) -> tuple[Source, Source]:
    """Rows to train on and others, drawn once."""
    images, labels = require("sklearn.datasets", "data").load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    ends = (order[: sizes.rows], order[sizes.rows : sizes.rows + sizes.test_rows])
    found = [
        {"id": [f"digit-{row}" for row in rows], "features": images[rows].astype(np.float32), "label": labels[rows]}
        for rows in ends
    ]
    one, two = (Source(rows, text=None, uid="id", label="label") for rows in found)
    return one, two


def study(
    sizes: Sizes = SIZES, keep_ratios: tuple[float, ...] = (0.1, 0.6), baselines: tuple[str, ...] = ()
) -> Evaluation:
    """The evaluation of hard, coverage-centric and calibrated selections by EL2N."""
    train, test = corpora(sizes)
    return Evaluation(
        train,
        test,
        "linear_probe:vectors=features,batch_size=64,device=cpu",
        (
            Candidate("hard", (Rule("top", "el2n"),)),
            Candidate("coverage-centric", (Rule("coverage_centric", "el2n"),)),
            Candidate("calibrated", (Rule("calibrated:alpha=0.25", "el2n", None, "label"),)),
        ),
        scorers=("el2n",),
        keep_ratios=keep_ratios,
        baselines=baselines,
        steps=sizes.steps,
        checks=5,
        seeds=Seeds(sizes.seeds, scoring=sizes.seeds),
        observe=Observe(epochs=2, early=2, runs=3),
    )


def main() -> None:
    options, sizes = arguments(__doc__, SIZES, Sizes(1200, 597, 400, 10))
    ratios = (0.05, 0.1, 0.2, 0.3, 0.6, 0.9)
    result = run(study(sizes, ratios, ("stratified", "rs2", "distillation")), options.out / "digits")
    finish("digits", study_rows("digits", result), options.is_recorded)


if __name__ == "__main__":
    main()
