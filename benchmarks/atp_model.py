"""A LLaVA small enough to be trained here: cached features of a frozen vision transformer, and a Llama of 8 layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from benchmarks.atp_scenes import END, IMAGE, PAD, WORDS, Question, Scenes
from benchmarks.cached_tower import Cached
from benchmarks.harness import DEVICE

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
N_VISUAL, N_LAYERS, IGNORED = 256, 8, -100
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Examples:
    """Features float16 [images, 256, D] of pictures, and the questions about each."""

    features: torch.Tensor
    questions: list[list[Question]]


@torch.no_grad()
def examples(tower: str, n_images: int, n_layers: int, *, held_out: bool) -> Examples:
    """Draw pictures and run the first layers of the DINOv2 in folder `tower` over them."""
    from transformers import Dinov2Model

    vision = Dinov2Model.from_pretrained(Path(tower)).eval().to(DEVICE)
    vision.encoder.layer = vision.encoder.layer[:n_layers]
    scenes = Scenes(seed=1 if held_out else 0, held_out=held_out)
    drawn = [scenes.draw() for _ in range(n_images)]
    mean, deviation = (torch.tensor(x, device=DEVICE)[:, None, None] for x in IMAGENET)
    features = []
    for first in range(0, n_images, 16):
        pixels = torch.stack([picture for picture, _ in drawn[first : first + 16]]).to(DEVICE)
        hidden = vision((pixels / 255 - mean) / deviation).last_hidden_state[:, 1:]
        features.append(hidden.half().cpu())
    return Examples(torch.cat(features), [questions for _, questions in drawn])


def build(width: int, n_features: int, seed: int) -> LlavaForConditionalGeneration:
    """A new model for features of `n_features` numbers."""
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=n_features, num_hidden_layers=1, num_attention_heads=1, image_size=224, patch_size=14
    )
    text = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=None,
        eos_token_id=END,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower = Cached()
    return model.to(DEVICE)


def batch(features: torch.Tensor, questions: Sequence[Sequence[Question]]) -> Batch:
    """Rows of a picture and its questions with answers, one after another, for training; padded on the right."""
    rows, labels = [], []
    for own in questions:
        row, told = [IMAGE] * N_VISUAL, [IGNORED] * N_VISUAL
        for question in own:
            answer = [question.answer_id, END]
            row += [*question.ids, *answer]
            told += [IGNORED] * len(question.ids) + answer
        rows.append(torch.tensor(row))
        labels.append(torch.tensor(told))
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    padded = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED)
    inputs = {
        "input_ids": ids,
        "attention_mask": (ids != PAD).long(),
        "labels": padded,
        "pixel_values": features.float(),
    }
    return {name: value.to(DEVICE) for name, value in inputs.items()}


def asked(features: torch.Tensor, questions: Sequence[Question]) -> Batch:
    """Rows of a picture and one question, to be answered; padded on the left, so that all end together."""
    length = max(len(question.words) for question in questions)
    ids = [[PAD] * (length - len(question.words)) + [IMAGE] * N_VISUAL + question.ids for question in questions]
    rows = torch.tensor(ids)
    inputs = {"input_ids": rows, "attention_mask": (rows != PAD).long(), "pixel_values": features.float()}
    return {name: value.to(DEVICE) for name, value in inputs.items()}
