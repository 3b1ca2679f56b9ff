"""The tokens of a vision tower that are no patches: they stand first, and are told by the embeddings' parameters."""

from __future__ import annotations

from torch import nn

# parameters of the embeddings, and how many tokens each one puts in front; None: as many as it has rows
FIRST: dict[str, int | None] = {
    "cls_token": 1,
    "class_embedding": 1,
    "distillation_token": 1,
    "register_tokens": None,
    "mask_token": 0,
    "position_embeddings": 0,
    "position_embedding": 0,
}
CLASS = ("cls_token", "class_embedding")


def first_tokens(embeddings: nn.Module, name: str) -> tuple[int, bool]:
    """How many tokens stand before the patches, and whether the first is a class token; `name` is the model's.

    Raises ValueError for a parameter that is not known.
    """
    count, own = 0, dict(embeddings.named_parameters(recurse=False))
    for parameter, value in own.items():
        if parameter not in FIRST:
            raise ValueError(f"{name}: its embeddings add {parameter}, and where those tokens stand is not known")
        n_tokens = FIRST[parameter]
        count += value.shape[-2] if n_tokens is None else n_tokens
    return count, any(parameter in own for parameter in CLASS)
