"""Read digits from a memory of pictures: weigh its rows, drop the worst, unlearn some, grow by a digit.

python examples/prune_memory.py
"""

import numpy as np
from sklearn.datasets import load_digits

from datapruner.memory.knn_memory import KnnMemory


def main() -> None:
    pictures, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(digits))
    vectors, labels = (pictures - pictures.mean(0))[order], digits[order]
    uids = np.array([f"picture {number}" for number in order])
    known, is_nine = np.arange(len(order)) < 900, labels == 9
    memory = KnnMemory(k=20)

    def add(rows: np.ndarray) -> None:
        memory.add(uids[rows].tolist(), vectors[rows], labels[rows].tolist())

    def show(what: str, rows: np.ndarray) -> None:
        right = np.array(memory.decide(vectors[rows]).labels) == labels[rows]
        print(f"{what:22} {len(memory):4} rows, {right.mean():.1%} right")

    add(known & ~is_nine)
    show("digits 0 to 8", ~known & ~is_nine)
    memory.weigh()
    show("unreliable weighed", ~known & ~is_nine)
    print("dropped:", ", ".join(memory.prune(wrong=4)))
    show("without them", ~known & ~is_nine)
    memory.remove(memory.uids[:300])
    show("300 rows unlearned", ~known & ~is_nine)
    add(known & is_nine)
    show("nines, just added", ~known & is_nine)


if __name__ == "__main__":
    main()
