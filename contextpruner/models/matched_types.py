"""Token types that say which tokens the question and the text share.

    0, 1    a token of the question, or of the text, that the other has not
    2, 3    one that the other has

A small encoder learns to attend to the same word elsewhere only from much data; here its first layer is told. Which of
the shared tokens mean something (names, and not articles) is for it to learn.
"""

from __future__ import annotations

import torch

# types of an encoder that is told
TYPES = 4


def matched_types(ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
    """int64 [B, T] from 0 to 3, of `types` 0 (question) and 1 (text); padding keeps its own. All int64 [B, T]."""
    is_other = types.unsqueeze(1) != types.unsqueeze(2)
    is_shared = (ids.unsqueeze(1) == ids.unsqueeze(2)) & is_other & (mask.unsqueeze(1) > 0)
    return types + 2 * (is_shared.any(2) & (mask > 0)).long()
