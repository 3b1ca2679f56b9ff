"""The layers of a decoder, and what a method inside it may ask of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tokenpruner import probe
from tokenpruner.layer_masks import Kind
from tokenpruner.layer_method import LayerMethod, Stage, check_stages

FULL, SLIDING = "full_attention", "sliding_attention"


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

    def checked(self, method: LayerMethod) -> tuple[Stage, ...]:
        """The stages of `method` in this decoder; raises ValueError where they cannot be had."""
        if method.positions != "keep" or method.mode != "drop":
            raise ValueError(f'want positions="keep" and mode="drop", got {method.positions!r} and {method.mode!r}')
        stages = method.stages(len(self.modules))
        check_stages(stages, len(self.modules))
        for stage in stages:
            if stage.reads is not None and probe.attention_of(self.modules[stage.reads]) is None:
                raise ValueError(f"layer {stage.reads}: {probe.unreadable(self.modules[stage.reads])}")
        for number in range(stages[0].layer if stages else len(self.modules), len(self.modules)):
            module = self.modules[number]
            attention = probe.attention_of(module)
            if attention is not None and getattr(attention[1], "is_kv_shared_layer", False):
                raise ValueError(
                    f"layer {number}, {type(module).__name__}, reads the keys of an earlier layer, which holds other "
                    "tokens: take a method before the decoder, such as DivPrune"
                )
        return stages


def _window(config: object) -> int | None:
    return getattr(config, "sliding_window", None)
