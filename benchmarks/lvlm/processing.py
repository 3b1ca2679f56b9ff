"""The tokenizer, the chat template and the processor of the model: words, a picture, plain English."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.lvlm.tower import DEVIATION, MEAN
from benchmarks.lvlm.vocabulary import ASSISTANT, END, IDS, IMAGE, PAD, SPECIAL, UNKNOWN, USER

if TYPE_CHECKING:
    from transformers import LlavaProcessor, PreTrainedTokenizerFast

SIDE = 224
# a turn of the user begins with its pictures: that is how the model was trained
CHAT = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}{{ '" + ASSISTANT + "' }}{%- else -%}{{ '" + USER + "' }}{%- endif -%}"
    "{%- if message['content'] is string -%}{{ ' ' + message['content'] }}{%- else -%}"
    "{%- for part in message['content'] if part['type'] == 'image' -%}{{ '" + IMAGE + "' }}{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{ ' ' + part['text'] }}{%- endfor -%}"
    "{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}{{ '" + END + "' }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '" + ASSISTANT + "' }}{%- endif -%}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A token for each word, in lower case; punctuation stands by itself."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(dict(IDS), unk_token=UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token=UNKNOWN,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        chat_template=CHAT,
    )


def processor() -> LlavaProcessor:
    """Pictures of 224 x 224 pixels, 256 patches; `size` of a call says otherwise, say 336 for 576."""
    from transformers import BitImageProcessorPil, LlavaProcessor

    images = BitImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, image_mean=[*MEAN], image_std=[*DEVIATION]
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        image_token=IMAGE,
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
