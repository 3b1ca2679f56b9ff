"""What a vision tower says of each visual token: attention and keys of one of its blocks.

    class_attention   mean over heads of softmax(q_class . k_j * scale): what the class token reads from patch j; in a
                      tower without class token the mean over all tokens of what they read from j
    joint_attention   the same with all heads taken as one: softmax(q_class . k_j / sqrt(C)), C their common width
    keys              the keys of the patches

`tower_reader` reads them while the tower encodes. Where tokens leave inside the tower, `kept` says which of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch

TowerNeed = Literal["class_attention", "joint_attention", "keys"]
TOWER = frozenset(get_args(TowerNeed))


@dataclass(frozen=True)
class TowerReading:
    """What was asked for of the N visual tokens of an image, float32: attention [N], keys [N, H, D]; None where not.

    `kept` bool [N] is False for tokens that left inside the tower.
    `entered` [N] says of a tower that was given fewer patches which share of a token's patches it saw.
    """

    class_attention: torch.Tensor | None = None
    joint_attention: torch.Tensor | None = None
    keys: torch.Tensor | None = None
    kept: torch.Tensor | None = None
    entered: torch.Tensor | None = None

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> TowerReading:
        """Each part through `change`."""
        return TowerReading(*(None if own is None else change(own) for own in vars(self).values()))
