"""Where the blocks of a vision transformer are, found by structure: ViT, DeiT, DINOv2, CLIP, SigLIP and their kin.

A tower is a module with patch embeddings (a convolution), a list of blocks whose attention projects queries and
keys, and perhaps a pooler. What stands around the tower has to do without the grid of patches: linear heads, and a
text tower beside it. Those of vision-language models: `projected_towers`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tokenpruner.models.first_tokens import first_tokens

PROJECTIONS = (("q_proj", "k_proj"), ("query", "key"))
HEADS = ("num_attention_heads", "num_heads")
PLAIN = (nn.Linear, nn.LayerNorm, nn.Identity, nn.Dropout)
ARGUMENTS = {"hidden_states", "attention_mask", "kwargs"}
TEXT = "text_model"


@dataclass(frozen=True)
class Block:
    """One block, the projections `queries` and `keys` of its attention, its `heads`, and whether it takes a mask."""

    module: nn.Module
    queries: nn.Linear
    keys: nn.Linear
    heads: int
    takes_mask: bool


@dataclass(frozen=True)
class Tower:
    """A vision transformer: `patches` makes its patches, the first `protected` tokens are none.

    `pooler` is the attention that pools its tokens, where it has one; `is_averaged` says that a head outside may
    take the mean over its patches.
    """

    module: nn.Module
    patches: nn.Conv2d
    blocks: tuple[Block, ...]
    protected: int
    has_class: bool
    pooler: nn.MultiheadAttention | None
    is_averaged: bool


def find(model: nn.Module) -> Tower:
    """The one tower of `model`; raises ValueError with the reason where there is none that tokens can leave."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"want a transformers model, got {type(model).__name__}")
    name = type(model).__name__
    found = [(path, module) for path, module in model.named_modules() if is_tower(module)]
    outermost = [(path, module) for path, module in found if not any(path.startswith(f"{o}.") for o, _ in found)]
    if len(outermost) != 1:
        raise ValueError(
            f"{name}: want one vision transformer, patch embeddings and a list of blocks, got {len(outermost)}"
        )
    path, module = outermost[0]
    if hasattr(module, "out_features"):
        raise ValueError(f"{name} puts out maps of its patches, which have to stay a grid")
    outside = list(_around(model, path))
    for child, part in outside:
        if not isinstance(part, PLAIN) and child != TEXT:
            raise ValueError(
                f"{name} hands the patches on to {child} ({type(part).__name__}), which may want all of them in their "
                "grid: want linear heads around the vision transformer"
            )
    protected, has_class = first_tokens(module.embeddings, name)
    lists = _lists(module)
    return Tower(
        module=module,
        patches=_convolution(module.embeddings),  # type: ignore[arg-type]
        blocks=tuple(_block(block, name) for block in lists[0]),
        protected=protected,
        has_class=has_class,
        pooler=_pooler(module, has_class, name),
        is_averaged=any(child.endswith("classifier") for child, _ in outside),
    )


def is_tower(module: nn.Module) -> bool:
    """True for a module with patch embeddings and a list of blocks."""
    return _has_patches(module) and bool(_lists(module))


def _around(model: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """What stands beside the module at `path`, at every level from `model` down."""
    module = model
    for step in path.split(".") if path else ():
        yield from ((name, child) for name, child in module.named_children() if name != step)
        module = getattr(module, step)


def _has_patches(module: nn.Module) -> bool:
    embeddings = getattr(module, "embeddings", None)
    return isinstance(embeddings, nn.Module) and _convolution(embeddings) is not None


def _convolution(embeddings: nn.Module) -> nn.Conv2d | None:
    found = [module for module in embeddings.modules() if isinstance(module, nn.Conv2d)]
    return found[0] if len(found) == 1 else None


def _lists(module: nn.Module) -> list[nn.ModuleList]:
    """The lists of blocks right below `module` or its encoder."""
    owners = [module, *(child for name, child in module.named_children() if name == "encoder")]
    lists = [child for owner in owners for child in owner.children() if isinstance(child, nn.ModuleList)]
    return [blocks for blocks in lists if len(blocks) and _attention(blocks[0]) is not None]


def _attention(block: nn.Module) -> tuple[nn.Module, nn.Linear, nn.Linear] | None:
    for module in block.modules():
        for names in PROJECTIONS:
            queries, keys = (getattr(module, name, None) for name in names)
            if isinstance(queries, nn.Linear) and isinstance(keys, nn.Linear):
                return module, queries, keys
    return None


def _block(block: nn.Module, name: str) -> Block:
    """Read one block; raises ValueError where it wants more than tokens and a mask, or changes queries and keys."""
    arguments = set(inspect.signature(block.forward).parameters)
    if not arguments <= ARGUMENTS:
        extra = ", ".join(sorted(arguments - ARGUMENTS))
        raise ValueError(f"{name}: want blocks that take tokens and a mask, got one that also takes {extra}")
    found = _attention(block)
    if found is None:
        raise ValueError(f"{name}: want q_proj and k_proj, or query and key, in {type(block).__name__}, got neither")
    attention, queries, keys = found
    others = [child for child in attention.children() if not isinstance(child, nn.Linear | nn.Dropout | nn.Identity)]
    heads = [getattr(attention, each) for each in HEADS if isinstance(getattr(attention, each, None), int)]
    if others or not heads or queries.out_features != keys.out_features:
        raise ValueError(
            f"{name}: want plain attention, with as many key heads as query heads and nothing between the projections "
            f"and the scores, got {type(attention).__name__}"
        )
    return Block(block, queries, keys, heads[0], "attention_mask" in arguments)


def _pooler(tower: nn.Module, has_class: bool, name: str) -> nn.MultiheadAttention | None:
    """The attention that pools the tokens; raises ValueError for a pooler of unknown kind."""
    known = {"embeddings", "encoder"}
    parts = [
        (child, part)
        for child, part in tower.named_children()
        if child not in known and not isinstance(part, (*PLAIN, nn.ModuleList))
    ]
    attention = None
    for child, part in parts:
        own = dict(part.named_children())
        if has_class and set(own) == {"dense", "activation"}:
            # reads the class token
            continue
        if isinstance(own.get("attention"), nn.MultiheadAttention) and hasattr(part, "probe"):
            attention = own["attention"]
            continue
        raise ValueError(f"{name}: how {child} ({type(part).__name__}) pools the patches is not known")
    return attention  # type: ignore[return-value]
