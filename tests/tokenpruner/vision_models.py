"""Tiny vision transformers of every supported kind, and one of their blocks worked in plain tensor arithmetic."""

from __future__ import annotations

import inspect
import math

import torch

from tokenpruner.models import vision_towers

SIDE = 4
N = SIDE * SIDE
TOWERS = ("vit", "deit", "dinov2", "registers", "clip", "siglip")
HEADS = (
    "vit_labels",
    "deit_labels",
    "deit_teacher",
    "dinov2_labels",
    "registers_labels",
    "clip_labels",
    "clip_projection",
    "clip_pair",
    "siglip_labels",
    "siglip_pair",
)
# tokens in front of the patches
FIRST = {"vit": 1, "deit": 2, "dinov2": 1, "registers": 5, "clip": 1, "siglip": 0}


def build(name: str, attention: str = "sdpa", seed: int = 0, n_blocks: int = 4) -> torch.nn.Module:
    """A model of 4 x 4 patches in float64, every weight drawn so large that errors show."""
    import transformers as t

    family, _, head = name.partition("_")
    sizes = {"hidden_size": 16, "num_hidden_layers": n_blocks, "num_attention_heads": 2, "image_size": 16}
    sizes |= {"patch_size": 4} | ({"intermediate_size": 24} if family not in ("dinov2", "registers") else {})
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": 20, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    stem = {"vit": "ViT", "deit": "DeiT", "dinov2": "Dinov2", "registers": "Dinov2WithRegisters"}
    stem |= {"clip": "CLIP", "siglip": "Siglip"}
    kind = stem[family]
    vision = getattr(t, f"{kind}VisionConfig" if family in ("clip", "siglip") else f"{kind}Config")(**sizes)
    own = {"labels": "ForImageClassification", "teacher": "ForImageClassificationWithTeacher", "": "Model"}
    own |= {"projection": "VisionModelWithProjection", "pair": "Model"}
    whole = family in ("clip", "siglip")
    model = getattr(t, f"{kind}VisionModel" if whole and not head else f"{kind}{own[head]}")
    config = vision
    if whole and head in ("labels", "pair"):
        config = getattr(t, f"{kind}Config")(vision_config=vision.to_dict(), text_config=text, projection_dim=8)
        config.num_labels = 3
    elif head in ("labels", "teacher"):
        config.num_labels = 3
    made = model._from_config(config, attn_implementation=attention, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return made.eval()


def pixels(n_images: int = 2, seed: int = 5, side: int = 16) -> torch.Tensor:
    """Random pictures."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_images, 3, side, side, generator=generator, dtype=torch.float64)


def run(model: torch.nn.Module, images: torch.Tensor, **options: object) -> dict[str, torch.Tensor]:
    """The tensors that the model puts out, by name; a pair of towers gets one text for each image."""
    if "input_ids" in inspect.signature(model.forward).parameters:
        options["input_ids"] = torch.tensor([[1, 5, 7, 2]]).expand(len(images), -1)
    output = model(pixel_values=images, **options)
    return {name: value for name, value in output.items() if isinstance(value, torch.Tensor)}


def takes_mask(model: torch.nn.Module) -> bool:
    """False for the DINOv2 of older releases, where merged tokens cannot weigh."""
    return all(block.takes_mask for block in vision_towers.find(model).blocks)


def blocks(tower: torch.nn.Module) -> torch.nn.ModuleList:
    """The list of blocks, by name."""
    holder = getattr(tower, "encoder", tower)
    return holder.layers if hasattr(holder, "layers") else holder.layer


def entered(tower: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What enters the first block."""
    hidden = tower.embeddings(images)
    return tower.pre_layrnorm(hidden) if hasattr(tower, "pre_layrnorm") else hidden


def _child(module: torch.nn.Module, *names: str) -> torch.nn.Module:
    return next(getattr(module, name) for name in names if hasattr(module, name))


def worked(
    block: torch.nn.Module, hidden: torch.Tensor, sizes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One block on one image [N, D] whose tokens stand for `sizes` [N]: output, queries and keys [H, N, d]."""
    outer = _child(block, "self_attn", "attention")
    attention = outer.attention if hasattr(outer, "attention") else outer
    normed = _child(block, "layernorm_before", "norm1", "layer_norm1")(hidden)
    q, k, v = (
        _child(attention, *names)(normed).view(len(hidden), 2, -1).transpose(0, 1)
        for names in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"))
    )
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    # each key as often as it has patches
    shares = scores.exp() * sizes
    mixed = ((shares / shares.sum(-1, keepdim=True)) @ v).transpose(0, 1).flatten(1)
    last = outer.output.dense if hasattr(outer, "output") else _child(attention, "o_proj", "out_proj")
    added = last(mixed)
    scaled = getattr(block, "layer_scale1", None)
    hidden = hidden + (added if scaled is None else added * scaled.lambda1)
    added = block.mlp(_child(block, "layernorm_after", "norm2", "layer_norm2")(hidden))
    scaled = getattr(block, "layer_scale2", None)
    return hidden + (added if scaled is None else added * scaled.lambda1), q, k


def finished(tower: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """What the tower makes of the tokens behind its last block."""
    for name in ("layernorm", "post_layernorm"):
        # CLIP norms the class token alone
        if hasattr(tower, name) and not hasattr(tower, "pre_layrnorm"):
            return getattr(tower, name)(hidden)
    return hidden


def pooled(tower: torch.nn.Module, last: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor | None:
    """The pooled output [D] of one image's final tokens [M, D], worked from the pooler's weights."""
    if hasattr(tower, "head"):
        # a probe attends to every patch of every token
        head, spelled = tower.head, last.repeat_interleave(sizes.long(), 0)
        attention = head.attention
        width = attention.embed_dim
        q, k, v = attention.in_proj_weight.split(width)
        bq, bk, bv = attention.in_proj_bias.split(width)
        n_heads, n_keys = attention.num_heads, len(spelled)
        query = (head.probe[0] @ q.T + bq).view(1, n_heads, -1).transpose(0, 1)
        keys = (spelled @ k.T + bk).view(n_keys, n_heads, -1).transpose(0, 1)
        values = (spelled @ v.T + bv).view(n_keys, n_heads, -1).transpose(0, 1)
        weights = (query @ keys.mT / math.sqrt(query.shape[-1])).softmax(-1)
        mixed = (weights @ values).transpose(0, 1).flatten(1)
        hidden = attention.out_proj(mixed)
        return (hidden + head.mlp(head.layernorm(hidden)))[0]
    if hasattr(tower, "pre_layrnorm"):
        return tower.post_layernorm(last[0])
    if getattr(tower, "pooler", None) is not None:
        return torch.tanh(tower.pooler.dense(last[0]))
    return last[0]
