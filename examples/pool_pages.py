"""Find pages by what they look like, with fewer vectors for each: pooled behind the model, pruned inside it, both.

The model is a tiny ColPali with random weights, so that this runs in seconds and without a download; with
`ColPaliForRetrieval.from_pretrained(...)` and a processor's output the lines below it stay the same.
"""

import torch
from transformers import ColPaliConfig, ColPaliForRetrieval, GemmaConfig, PaliGemmaConfig, SiglipVisionConfig

from tokenpruner import pool_embeddings, prune

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def main() -> None:
    """Eight pages of 256 patches, and the same pages photographed badly."""
    torch.manual_seed(0)
    vision = SiglipVisionConfig(**SIZES, image_size=128, patch_size=8, projection_dim=32)
    text = GemmaConfig(**SIZES, num_key_value_heads=4, head_dim=8, vocab_size=64, pad_token_id=0)
    vlm = PaliGemmaConfig(vision_config=vision, text_config=text, image_token_index=60, projection_dim=32)
    model = ColPaliForRetrieval(ColPaliConfig(vlm_config=vlm, embedding_dim=16)).eval()

    pages = torch.nn.functional.interpolate(torch.randn(8, 3, 8, 8), size=128)
    ids = torch.tensor([[60] * 256 + [2, 7, 8]]).expand(8, -1)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        whole = model(**inputs, pixel_values=pages).embeddings
        photographed = model(**inputs, pixel_values=pages + 0.5 * torch.randn_like(pages)).embeddings
        with prune(model, "divprune:keep_ratio=0.5"):
            pruned = model(**inputs, pixel_values=pages).embeddings

    forms = {"whole": whole, "pooled by 9": pool_embeddings(whole, 9).vectors}
    for name, index in (forms | {"pruned": pruned, "pruned and pooled": pool_embeddings(pruned, 9).vectors}).items():
        scores = torch.stack([(photographed @ page.T).amax(-1).sum(-1) for page in index], 1)
        found = int((scores.argmax(1) == torch.arange(8)).sum())
        print(f"{name:18} {len(index[0]):4} vectors a page, {found} of 8 pages found")


if __name__ == "__main__":
    main()
