"""Lead: earlier units first, the baseline that any other labeler has to beat.

    probability of unit i = 1 / (1 + i)

Higher = earlier in its own document, whatever the question; not a probability of anything. A threshold of
1 / k keeps the first k units of every document. All documents that have units score 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contextpruner.labeler import Labeler, Labels
from contextpruner.units.split import SplitDocument


@dataclass(frozen=True)
class Lead(Labeler):
    """Earlier units first: 1 / (1 + i) for unit i of its document."""

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        places = [np.arange(1, len(document.units) + 1) for document in documents]
        return Labels.best_unit([np.reciprocal(place.astype(np.float32)) for place in places])
