"""The layers of a decoder: their modules, their kinds of mask, and where their keys stand in a cache."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tokenpruner.models.attention_probe import attention_of
from tokenpruner.models.transformers_api import checkpoint_reruns_hooks, is_checkpointed

FULL, SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class MaskKind:
    """What decides the form of a layer's mask: its `window`, if it has one, and whether attention `is_flash`.

    `attends` is False for a layer that keeps a state in place of keys, which wants padding marked and no more.
    """

    window: int | None = None
    is_flash: bool = False
    attends: bool = True


@dataclass(frozen=True)
class DecoderLayers:
    """The `modules` in order, the `kinds` of mask that they take, and where their cache slots are (`slots`)."""

    modules: tuple[nn.Module, ...]
    kinds: tuple[MaskKind, ...]
    slots: tuple[int, ...]

    @classmethod
    def of(cls, backbone: nn.Module) -> DecoderLayers:
        """The layers of a text backbone; raises ValueError where it has none in one list."""
        found = [part for name, part in backbone.named_modules() if name.rpartition(".")[2] == "layers"]
        if not found or not isinstance(found[0], nn.ModuleList):
            raise ValueError(f"{type(backbone).__name__}: want the decoder's layers in a list, `layers`, got none")
        config = getattr(backbone, "config")  # noqa: B009
        modules = tuple(found[0])[: getattr(config, "num_hidden_layers", None)]
        is_flash = "flash" in str(getattr(config, "_attn_implementation", ""))
        types = getattr(config, "layer_types", None) or [FULL if _window(config) is None else SLIDING] * len(modules)
        kinds, slots = [], []
        for number, (module, kind) in enumerate(zip(modules, types, strict=False)):
            attention = attention_of(module)
            window = _window(config) if kind == SLIDING else None
            kinds.append(MaskKind(window, is_flash, attention is not None or kind in (FULL, SLIDING)))
            slots.append(number if attention is None else int(getattr(attention[1], "layer_idx", number)))
        return cls(modules, tuple(kinds), tuple(slots))

    @property
    def first_attending(self) -> int:
        """The first layer that holds keys, which say how long the past is."""
        return next((number for number, kind in enumerate(self.kinds) if kind.attends), 0)


def check_recomputed(layer: nn.Module) -> None:
    """Raise ValueError where gradient checkpointing would run the hooks of `layer` again, behind the pass.

    Newer transformers checkpoints what lies inside the hooks, older ones the hooks too.
    """
    if checkpoint_reruns_hooks(layer):
        raise ValueError(
            f"{type(layer).__name__}: want no gradient checkpointing inside the decoder with this transformers: it "
            "runs hooks again; take a newer one, or a method before the decoder, such as DivPrune"
        )


def check_keeps_cache(layer: nn.Module, mode: str) -> None:
    """Raise ValueError where gradient checkpointing takes away what stands for the cache of `layer`."""
    if is_checkpointed(layer):
        raise ValueError(
            f'{type(layer).__name__}: want no gradient checkpointing with mode="{mode}", it hands layers no cache, '
            'where the keys of skipped tokens are: take mode="drop", or model.gradient_checkpointing_disable()'
        )


def _window(config: object) -> int | None:
    return getattr(config, "sliding_window", None)
