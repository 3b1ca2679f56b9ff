"""Products of rows whose bits hang on the two rows alone, not on how many others stand beside them or where."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# both sides are filled up: a product of few rows is rounded in another order than one of many
STEP = 16


def filled(rows: torch.Tensor) -> torch.Tensor:
    """`rows` [Q, D] in float32, zeros below them up to a whole multiple of STEP: the right side of `products`."""
    return F.pad(rows.float(), (0, 0, 0, -len(rows) % STEP))


def products(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Of `rows` [N, D] with `columns` [M, D] that are `filled`: float32 [N, M]."""
    wide = rows.float().contiguous()
    # filling up copies
    enough = wide if len(wide) >= STEP else F.pad(wide, (0, 0, 0, STEP - len(wide)))
    return (enough @ columns.T)[: len(rows)]
