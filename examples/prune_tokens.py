"""Prune the visual tokens of a vision-language model and print what that saved.

The model is a tiny LLaVA with random weights, so that this runs in seconds and without a download; with
`LlavaForConditionalGeneration.from_pretrained(...)` and a processor's output the lines below it stay the same.
"""

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from tokenpruner import prepare, prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.report.text_table import summary


def main() -> None:
    """Prune 576 visual tokens to 57, in the two forms."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = CLIPVisionConfig(**sizes, image_size=336, patch_size=14)
    text = LlamaConfig(**sizes, vocab_size=1000, pad_token_id=0, eos_token_id=None)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=999))

    input_ids = torch.tensor([[1, *[999] * 576, 17, 18, 19]])
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    inputs["pixel_values"] = torch.rand(1, 3, 336, 336)
    method = DivPrune(keep_ratio=0.098)

    with prune(model, method) as report:
        told = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    print(summary(report))

    prepared = prepare(model, method, **inputs)
    again = model.generate(**prepared, max_new_tokens=8, do_sample=False)
    print("both forms say the same:", torch.equal(told[:, input_ids.shape[1] :], again))


if __name__ == "__main__":
    main()
