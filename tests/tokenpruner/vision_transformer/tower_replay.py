"""A LLaVA whose tokens leave inside its tower, worked by hand: block by block, pair by pair, then the shorter row."""

from __future__ import annotations

import dataclasses

import torch

from tests.tokenpruner import vision_models as vision
from tests.tokenpruner.conftest import IMAGE, N, build
from tests.tokenpruner.methods.test_tome import merge
from tokenpruner import BlockContext, BlockMethod
from tokenpruner.methods.random_patches import RandomPatches
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune

METHODS = (ToMe(r=3), ZeroTPrune(keep_ratio=0.3), RandomPatches(keep_ratio=0.5))


@dataclasses.dataclass(frozen=True)
class Loudest(BlockMethod):
    """Keeps the patches of the largest norm: `counts` go behind each of the first blocks."""

    counts: tuple[int, ...] = (5, 4)
    reads = frozenset({"keys"})

    def removals(self, n_patches, n_blocks):
        if n_blocks < len(self.counts):
            raise ValueError(f"want {len(self.counts)} blocks, got {n_blocks}")
        return list(self.counts)

    def importance(self, context: BlockContext) -> torch.Tensor:
        return context.hidden[:, context.protected :].float().norm(dim=-1)


def tower_by_hand(model, image, method, n_blocks):
    """Features [M, D] of one picture behind the projector, block by block, and the patches at whose places they are."""
    tower, first = model.model.vision_tower, 1
    hidden = vision.entered(tower, image[None])[0]
    sizes, places = torch.ones(len(hidden), dtype=torch.float64), list(range(len(hidden)))
    counts = method.removals(N, n_blocks)
    for number, block in enumerate(vision.blocks(tower)[:n_blocks]):
        hidden, _, keys = vision.worked(block, hidden, sizes)
        gone = counts[number] if number < len(counts) else 0
        if gone and isinstance(method, ToMe):
            hidden, sizes, stand = merge(hidden, keys, sizes, gone, first)
            places = [places[i] for i in stand]
        elif gone:
            order = sorted(range(first, len(hidden)), key=lambda i, h=hidden: float(h[i].norm()))
            rows = [i for i in range(len(hidden)) if i not in order[:gone]]
            hidden, sizes, places = hidden[rows], sizes[rows], [places[i] for i in rows]
    if n_blocks == len(vision.blocks(tower)) and hasattr(tower, "layernorm") and model.hidden_is_last:
        hidden = tower.layernorm(hidden)
    return model.model.multi_modal_projector(hidden[first:]), [place - first for place in places[first:]]


def by_hand(model, row, method, positions="compact"):
    """Logits of one row's shorter sequence, made without hooks, cache or our gather; and which columns are left."""
    ids = row["input_ids"][0]
    embeds, columns = model.get_input_embeddings()(ids), (ids == IMAGE).nonzero().flatten().tolist()
    layer = model.config.vision_feature_layer
    n_blocks = len(vision.blocks(model.model.vision_tower)) + 1 + layer
    parts, kept, done = [], [], 0
    for column in range(len(ids)):
        if column not in columns:
            parts.append(embeds[column][None])
            kept.append(column)
        elif columns.index(column) % N == 0:
            features, places = tower_by_hand(model, row["pixel_values"][done], method, n_blocks)
            parts.append(features)
            kept += [column + place for place in places]
            done += 1
    hidden = torch.cat(parts)
    where = torch.arange(len(kept)) if positions == "compact" else torch.tensor(kept)
    causal = torch.ones(len(kept), len(kept), dtype=torch.bool).tril()[None, None]
    additive = torch.zeros(causal.shape, dtype=hidden.dtype).masked_fill(~causal, torch.finfo(hidden.dtype).min)
    decoder = model.model.language_model
    out = decoder(inputs_embeds=hidden[None], attention_mask=additive, position_ids=where[None], use_cache=False)
    return model.lm_head(out.last_hidden_state)[0], kept


def encoded(model, inputs):
    """The features of all pictures behind the projector, one below the other."""
    features = model.model.get_image_features(inputs["pixel_values"]).pooler_output
    return torch.cat([*features])


def llava(kind="clip", layer=-1, n_blocks=3):
    """A LLaVA with the tower of `vision_models`, whose features are those of hidden state `layer`."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    tower = vision.build(kind, n_blocks=n_blocks)
    text = build().config.text_config
    config = LlavaConfig(
        vision_config=tower.config, text_config=text, image_token_index=IMAGE, vision_feature_layer=layer
    )
    config.initializer_range = 0.3
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa", dtype=torch.float64).eval()
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.generation_config.pad_token_id = 0
    model.generation_config.suppress_tokens = [IMAGE]
    # hidden states of some towers end with what comes out of them, normed
    with torch.no_grad():
        out = model.model.vision_tower(vision.pixels(1), output_hidden_states=True)
    model.hidden_is_last = torch.equal(out.hidden_states[-1], out.last_hidden_state)
    return model
