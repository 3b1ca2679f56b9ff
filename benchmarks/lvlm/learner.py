"""The part of the model that learns: projector, decoder and, while it trains, heads that say what a patch shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.lvlm.features import SCALE
from benchmarks.lvlm.packing import IGNORED, Packed
from benchmarks.lvlm.recipe import Recipe
from benchmarks.lvlm.vocabulary import CONTENTS, END, IDS, IMAGE, PAD, TINTS, TOKENS

if TYPE_CHECKING:
    from transformers import Dinov2Config, LlavaConfig, LlavaForConditionalGeneration

# content, tint, ordinal, cell; those in the middle only where there is something
AUXILIARY = {"content": len(CONTENTS), "tint": len(TINTS), "ordinal": 5, "cell": 9}
# most patches show the ground
GROUND = 0.25


@dataclass(frozen=True)
class Said:
    """`logits` float [answers, tokens] and their `targets`; `rows` and `places` of both in the batch; `patches`."""

    logits: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    places: torch.Tensor
    patches: dict[str, torch.Tensor]


class Learner(nn.Module):
    """LLaVA without its tower, which reads standardized features."""

    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.projector = model.model.multi_modal_projector
        self.decoder = model.model.language_model
        width, n_layers = self.decoder.config.hidden_size, self.decoder.config.num_hidden_layers
        self.reads_at = n_layers // 2
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in AUXILIARY.items()})

    def forward(self, batch: Packed) -> Said:
        """Logits where an answer's token follows, and of every patch."""
        words = self.decoder.embed_tokens(batch.text)
        patches = self.projector(batch.features.float() / SCALE)
        embeds = torch.cat([words[:, :1], patches.to(words.dtype), words[:, 1:]], 1)
        found = self.decoder(
            inputs_embeds=embeds,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
            output_hidden_states=True,
        )
        rows, places = (batch.targets != IGNORED).nonzero(as_tuple=True)
        logits = nn.functional.linear(found.last_hidden_state[rows, places], self.decoder.embed_tokens.weight)
        middle = self.norm(found.hidden_states[self.reads_at][:, 1 : 1 + patches.shape[1]])
        told = {name: head(middle) for name, head in self.heads.items()}
        return Said(logits.float(), batch.targets[rows, places], rows, places, told)

    def losses(self, said: Said, batch: Packed) -> tuple[torch.Tensor, torch.Tensor]:
        """That of the answers, a mean over their tokens, and that of the patches, a sum over the heads."""
        labels = batch.labels.long()
        weight = torch.ones(len(CONTENTS))
        weight[0] = GROUND
        parts = []
        for number, (name, logits) in enumerate(said.patches.items()):
            own = labels[..., number]
            if name in ("tint", "ordinal"):
                own = own.masked_fill(labels[..., 0] == 0, IGNORED)
            if (own != IGNORED).any():
                weights = weight if name == "content" else None
                parts.append(cross_entropy(logits.float().flatten(0, 1), own.flatten(), weights))
        return cross_entropy(said.logits, said.targets), torch.stack(parts).sum()


def config(recipe: Recipe, vision: Dinov2Config) -> LlavaConfig:
    """The model's, on a tower of configuration `vision`."""
    from transformers import LlamaConfig, LlavaConfig

    sizes = recipe.decoder
    text = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=sizes.width,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=IDS[PAD],
        bos_token_id=None,
        eos_token_id=IDS[END],
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IDS[IMAGE],
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        image_seq_length=256,
    )


def vision_config(tower: Path, blocks: int) -> Dinov2Config:
    """That of the tower in a folder, cut; it does not say where it lay."""
    from transformers import Dinov2Config

    found = Dinov2Config.from_pretrained(tower)
    sizes = ("hidden_size", "num_attention_heads", "image_size", "patch_size", "mlp_ratio", "layer_norm_eps")
    return Dinov2Config(num_hidden_layers=blocks, **{name: getattr(found, name) for name in sizes})


def new_learner(recipe: Recipe) -> Learner:
    """A fresh one, drawn by the recipe's seed."""
    from transformers import LlavaForConditionalGeneration

    torch.manual_seed(recipe.seed)
    # the tower of a learner is never run: one block of it is enough
    model = LlavaForConditionalGeneration(config(recipe, vision_config(recipe.tower, 1)))
    return Learner(model)
