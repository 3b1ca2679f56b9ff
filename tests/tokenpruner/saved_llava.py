"""A tiny random LLaVA in a folder, with a processor of its own."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.tokenpruner.conftest import build

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "what", "<image>", "is", "this", "user", ":"]
# the content of a message as a list of parts, as processors of vision-language models have it
CHAT = (
    "{% for m in messages %}user : {% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image> {% else %}{{ p['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
# and as a text, as text models have it
PLAIN_CHAT = "{% for m in messages %}{{ 'user : ' + m['content'] }}{% endfor %}"


def save(folder: Path, chat: str | None = None, prefix: str = "") -> Path:
    """The LLaVA of the other tests, 16 tokens an image, and a tokenizer of ten words and numbers behind `prefix`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

    words = WORDS + [f"{prefix}{number}" for number in range(len(WORDS), 64)]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", additional_special_tokens=["<image>"]
    )
    crop = {"height": 16, "width": 16}
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=crop),
        fast,
        patch_size=4,
        vision_feature_select_strategy="default",
        image_token="<image>",
        chat_template=chat,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    build().to(torch.float32).save_pretrained(folder)
    return folder
