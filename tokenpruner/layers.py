"""The layers of a decoder, and what a method inside it may ask of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tokenpruner import probe
from tokenpruner.layer_masks import Kind
from tokenpruner.layer_method import LayerMethod, Stage, check_stages
from tokenpruner.transformers_api import checkpoint_reruns_hooks

FULL, SLIDING = "full_attention", "sliding_attention"
OTHERS = "all layers have to hold the same tokens, take a method before the decoder, such as DivPrune"


@dataclass(frozen=True)
class Layers:
    """The `modules` in order, the `kinds` of mask that they take, and where their cache slots are (`slots`)."""

    modules: tuple[nn.Module, ...]
    kinds: tuple[Kind, ...]
    slots: tuple[int, ...]

    @classmethod
    def of(cls, backbone: nn.Module) -> Layers:
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
            attention = probe.attention_of(module)
            window = _window(config) if kind == SLIDING else None
            kinds.append(Kind(window, is_flash, attention is not None or kind in (FULL, SLIDING)))
            slots.append(number if attention is None else int(getattr(attention[1], "layer_idx", number)))
        return cls(modules, tuple(kinds), tuple(slots))

    @property
    def first_attending(self) -> int:
        """The first layer that holds keys, which say how long the past is."""
        return next((number for number, kind in enumerate(self.kinds) if kind.attends), 0)

    def checked(self, method: LayerMethod) -> tuple[Stage, ...]:
        """The stages of `method` in this decoder; raises ValueError where they cannot be had."""
        stages = method.stages(len(self.modules))
        check_stages(stages, len(self.modules))
        for stage in stages:
            if stage.reads is not None and probe.attention_of(self.modules[stage.reads]) is None:
                raise ValueError(f"layer {stage.reads}: {probe.unreadable(self.modules[stage.reads])}")
        for number in range(stages[0].layer if stages else len(self.modules), len(self.modules)):
            found = probe.attention_of(self.modules[number])
            why = "" if found is None else _tied(found[1])
            if why:
                raise ValueError(f"layer {number}, {type(self.modules[number]).__name__}, {why}: {OTHERS}")
            if method.mode == "skip" and found is None:
                raise ValueError(f'mode="skip", layer {number}: {probe.unreadable(self.modules[number])}')
            if method.mode == "skip" and self.kinds[number].is_flash:
                raise ValueError('mode="skip" wants attention "sdpa" or "eager", got flash attention')
        return stages


def _tied(attention: nn.Module) -> str:
    """Why a layer's attention needs an earlier layer to hold the same tokens; "" where it does not."""
    if getattr(attention, "is_kv_shared_layer", False):
        return "reads the keys of an earlier layer"
    return "takes its keys by an index that other layers share" if hasattr(attention, "indexer") else ""


def check_recomputed(layer: nn.Module) -> None:
    """Raise ValueError where gradient checkpointing would run the hooks of `layer` again, behind the pass.

    Newer transformers checkpoints what lies inside the hooks, older ones the hooks too.
    """
    if checkpoint_reruns_hooks(layer):
        raise ValueError(
            f"{type(layer).__name__}: want no gradient checkpointing inside the decoder with this transformers: it "
            "runs hooks again; take a newer one, or a method before the decoder, such as DivPrune"
        )


def _window(config: object) -> int | None:
    return getattr(config, "sliding_window", None)
