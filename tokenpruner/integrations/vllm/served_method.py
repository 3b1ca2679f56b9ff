"""Which methods a served model can be pruned by, and why not by the others.

A serving engine encodes each image by itself and remembers it, counts the tokens of a prompt before anything is
encoded, and lets nobody between the layers of the decoder. Positions of one part are places in the shortened prompt,
"compact"; those of three parts (M-RoPE) stay where they were, "keep".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from prunekernels import spec
from tokenpruner.base.before_decoder import Method
from tokenpruner.base.before_tower import PixelMethod
from tokenpruner.base.inside_decoder import LayerMethod
from tokenpruner.base.method_chain import MethodChain
from tokenpruner.base.positions import place
from tokenpruner.base.token_method import TokenMethod, method_from_text
from tokenpruner.base.vision_transformer import BlockMethod
from tokenpruner.models.tower_reading import TowerNeed

# the name of the option, of an engine and of a request
OPTION = "prunekit"
ALL_TOKENS = "none"
REFUSED: dict[type, str] = {
    LayerMethod: "works inside the decoder, where vLLM has no place for it",
    BlockMethod: "works inside the vision tower, where vLLM has no place for it",
    PixelMethod: "works before the vision tower, where vLLM has no place for it",
    MethodChain: "is a chain of methods, of which vLLM could run those before the decoder alone",
}


@dataclass(frozen=True)
class ServedModel:
    """What of a served model decides which methods it takes; `name` is told in errors.

    `has_mrope` says that a token's position has three parts, `shows_tower` that its vision tower is transformers' own,
    whose attention can be read; of it `tower` is read, of one of its blocks.
    """

    name: str
    has_mrope: bool = False
    shows_tower: bool = False
    tower: tuple[frozenset[TowerNeed], int] = (frozenset(), -1)

    def started_with(self, text: object) -> ServedModel:
        """The model in an engine that was started with the method of that text form.

        Raises ValueError for one that cannot be served.
        """
        method = described_method(text)
        told = self if method is None else replace(self, tower=method.tower_needs())
        served_method(text, told)
        return told


def described_method(text: object) -> Method | None:
    """The method that `text` describes; None for "none". Raises ValueError for one that vLLM can run on no model."""
    if not isinstance(text, str):
        raise ValueError(f'want {OPTION} as text such as "divprune:keep_ratio=0.1" or "{ALL_TOKENS}", got {text!r:.80}')
    if text.strip() == ALL_TOKENS:
        return None
    method = method_from_text(text)
    name = spec.describe(method)
    if not isinstance(method, Method):
        raise ValueError(f"{name} {_reason(method)}: take one that works before the decoder, such as divprune")
    if method.n_keep_row is not None:
        raise ValueError(f"{name} shares tokens over images, which vLLM encodes one by one: take n_keep")
    if method.newlines != "compete":
        raise ValueError(
            f'{name} counts newline tokens, which vLLM does not know before it encodes: take newlines="compete"'
        )
    return method


def served_method(text: object, model: ServedModel) -> Method | None:
    """The method that `text` describes, with the positions that it has in `model`; None for "none".

    Raises ValueError, with the reason, for one that cannot be served there.
    """
    method = described_method(text)
    if method is None:
        return None
    name = spec.describe(method)
    needs, layer = method.tower_needs()
    if needs and not model.shows_tower:
        raise ValueError(
            f"{name} reads {', '.join(sorted(needs))} of the vision tower, and vLLM's own {model.name} does not show "
            "it: start vLLM with --model-impl transformers, or take a method that reads embeddings, such as divprune"
        )
    if needs and not (needs <= model.tower[0] and layer == model.tower[1]):
        raise ValueError(f"{name} reads the vision tower, and this engine does not: start one with this method")
    positions = place(method.positions, method.published_positions, model.name, model.has_mrope)
    if positions != ("keep" if model.has_mrope else "compact"):
        raise ValueError(
            f'{name} has positions="{positions}", and in vLLM a token of {model.name} stands where it is in the '
            'shortened prompt: take positions="compact"'
        )
    return method if method.positions == positions else replace(method, positions=positions)


def _reason(method: TokenMethod) -> str:
    return next((why for kind, why in REFUSED.items() if isinstance(method, kind)), "does not work before the decoder")
