"""The vision tower of a vision-language model that tokens can leave: its projector takes each of them by itself.

That is told by the modules. Between the tower and the decoder stands one projector, linear layers and what works on
one token at a time, the first of them as wide as the tower: LLaVA, LLaVA-NeXT, PaliGemma. One that takes several tokens
at once (pixel shuffle, merges of 2 x 2), pools them, or has anything else in it wants the whole grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tokenpruner.models import vision_towers
from tokenpruner.models.vision_towers import Tower

WAY_OUT = "prune behind the projector, for example with DivPrune(keep_ratio=0.5)"
FEATURE_LAYER = "vision_feature_layer"
# where modules live that work on one token at a time: linear layers, identity, activations, dropout
PER_TOKEN = (*(f"torch.nn.modules.{name}" for name in ("linear", "activation", "dropout")), "transformers.activations")
# what lives there and works on several
MIXES = (nn.MultiheadAttention,)


@dataclass(frozen=True)
class ProjectedTower:
    """A `tower`, the first `n_blocks` blocks of which make the features, and the `projector` that takes them."""

    tower: Tower
    projector: nn.Module
    n_blocks: int


def find(merger: nn.Module, backbone: nn.Module) -> ProjectedTower:
    """The tower below `merger`, beside `backbone`; raises ValueError with the reason and the way out."""
    name = type(merger).__name__
    try:
        children = dict(_children(merger, backbone))
        towers = [child for child, part in children.items() if any(map(vision_towers.is_tower, part.modules()))]
        if len(towers) != 1:
            raise ValueError(f"{name}: want one vision transformer, patch embeddings and blocks, got {len(towers)}")
        tower = vision_towers.find(children.pop(towers[0]))
        if len(children) != 1:
            raise ValueError(f"{name}: want one projector behind its vision tower, got {', '.join(children) or 'none'}")
        (projector,) = children.values()
        _check_per_token(projector, tower.blocks[0].queries.in_features)
        return ProjectedTower(tower, projector, _n_blocks(getattr(merger, "config"), len(tower.blocks)))  # noqa: B009
    except ValueError as error:
        raise ValueError(f"tokens cannot leave inside the vision tower of {name}: {error}; {WAY_OUT}") from error


def _children(merger: nn.Module, backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Those that learn anything, but for the one with the decoder."""
    for name, child in merger.named_children():
        if backbone not in set(child.modules()) and any(True for _ in child.parameters()):
            yield name, child


def _check_per_token(projector: nn.Module, width: int) -> None:
    """Raise ValueError unless `projector` is a chain of linear layers from `width` on, with norms and activations."""
    kind = type(projector).__name__
    for part in projector.modules():
        own = [name for name, _ in part.named_parameters(recurse=False)]
        is_holder = any(True for _ in part.children()) and not own
        if not (is_holder or _is_norm(part) or type(part).__module__ in PER_TOKEN) or isinstance(part, MIXES):
            said = type(part).__name__ if part is not projector else ", ".join(own)
            raise ValueError(f"its projector {kind} has {said}, which may want the whole grid")
    linear = [part for part in projector.modules() if isinstance(part, nn.Linear)]
    widths = [width, *(part.out_features for part in linear)]
    for part, wanted in zip(linear, widths, strict=False):
        if part.in_features != wanted:
            raise ValueError(
                f"its projector {kind} takes {part.in_features} numbers where a token has {wanted}: several tokens or "
                "blocks at once"
            )
    if not linear:
        raise ValueError(f"its projector {kind} has no linear layer")


def _is_norm(part: nn.Module) -> bool:
    """A norm over the numbers of a token: LayerNorm, or one of that name with a weight for each number."""
    own = dict(part.named_parameters())
    sizes = {name: value.ndim for name, value in own.items()}
    return isinstance(part, nn.LayerNorm) or (type(part).__name__.endswith("RMSNorm") and sizes == {"weight": 1})


def _n_blocks(config: object, n_blocks: int) -> int:
    """How many blocks the features have been through."""
    layer = getattr(config, FEATURE_LAYER, None)
    layers = layer if isinstance(layer, list | tuple) else [-1 if layer is None else layer]
    if len({*layers}) != 1:
        raise ValueError(f"it reads the features of several blocks, {FEATURE_LAYER}={layer}")
    (one,) = {*layers}
    # hidden states begin with what enters the first block
    count = n_blocks + 1 + one if one < 0 else one
    if not 0 < count <= n_blocks:
        raise ValueError(f"it reads features that no block has made, {FEATURE_LAYER}={layer}")
    return int(count)
