"""tokenpruner on a model that was trained: questions about pictures, answered with all visual tokens and with few.

The model is that of benchmarks/lvlm, small and made for measuring; its pictures are composed from drawings, clothes and
digits that it has never seen. The whole comparison is `make lvlm-bench`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table

import tokenpruner
from benchmarks.lvlm.assembly import assembled
from benchmarks.lvlm.drawing import draw
from benchmarks.lvlm.questions import MAIN_KINDS, READING_KINDS, Question, questions_of
from benchmarks.lvlm.scene import KINDS, draw_scene
from benchmarks.lvlm.sprites import Sprites
from demo import assets
from tokenpruner import TokenMethod
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride
from tokenpruner.report.plots import side_by_side
from tokenpruner.report.records import KeptImage

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import LlavaForConditionalGeneration, ProcessorMixin

LVLM = Path(__file__).resolve().parent.parent / "benchmarks" / "lvlm"
METHODS: dict[str, TokenMethod] = {
    "all 256": Stride(keep_ratio=1),
    "DivPrune 64": DivPrune(keep_ratio=0.25),
    "random 64": Random(keep_ratio=0.25),
    "DivPrune 29": DivPrune(keep_ratio=0.11),
}
SPLIT, N_PICTURES, N_QUESTIONS = "test", 2, 3


@dataclass(frozen=True)
class Asked:
    """A question, and what the model answers under each of `METHODS`."""

    question: Question
    answers: list[str]

    @property
    def is_right(self) -> list[bool]:
        return [answer == self.question.answer for answer in self.answers]


def run(out: Path, console: Console) -> list[Path]:
    """Ask about a few pictures of each kind, print the answers, draw what was kept; returns the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    model, processor = load()
    sprites = Sprites.load(LVLM / "pictures" / SPLIT)
    table = Table("picture", "question", *METHODS, title="What the model answers", title_justify="left")
    right, pictures = torch.zeros(len(METHODS), dtype=torch.int64), []
    n_asked = 0
    for kind in KINDS:
        for number in range(N_PICTURES):
            scene = draw_scene(kind, SPLIT, number)
            picture = draw(scene, sprites).picture
            questions = [one for one in questions_of(scene) if one.kind in (*MAIN_KINDS, *READING_KINDS)][:N_QUESTIONS]
            found, kept = ask(model, processor, picture, questions)
            for asked in found:
                table.add_row(f"{kind} {number}", asked.question.text, *_told(asked))
                right += torch.tensor(asked.is_right)
            n_asked += len(found)
            pictures.append(out / f"{kind}_{number}.png")
            side_by_side(picture, kept, title=f"{kind} picture {number}").save(pictures[-1])
        table.add_section()
    table.add_row("right", f"of {n_asked}", *(str(count) for count in right.tolist()))
    console.print(table)
    return pictures


def load() -> tuple[LlavaForConditionalGeneration, ProcessorMixin]:
    """The model with its tower, put together at the first use, and its processor."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    folder = assembled(LVLM / "model", assets.dinov2(), assets.MODELS / "lvlm")
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(folder)


@torch.inference_mode()
def ask(
    model: LlavaForConditionalGeneration, processor: ProcessorMixin, picture: Image, questions: list[Question]
) -> tuple[list[Asked], dict[str, KeptImage]]:
    """The answers to `questions`, and of each method that leaves something out what it keeps."""
    chats = [
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question.text}]}]
        for question in questions
    ]
    prompts = [processor.apply_chat_template(chat, add_generation_prompt=True) for chat in chats]
    inputs = processor(images=[picture] * len(prompts), text=prompts, padding=True, return_tensors="pt")
    answers: list[list[str]] = [[] for _ in questions]
    kept = {}
    for name, method in METHODS.items():
        with tokenpruner.prune(model, method) as report:
            told = model.generate(**inputs)
        for own, ids in zip(answers, told[:, inputs["input_ids"].shape[1] :], strict=True):
            own.append(processor.decode(ids, skip_special_tokens=True).strip())
        if report.visual_after < report.visual_before:
            kept[name] = report.images[0]
    return [Asked(*pair) for pair in zip(questions, answers, strict=True)], kept


def _told(asked: Asked) -> list[str]:
    return [
        answer if is_right else f"[red]{answer or '-'}[/red]"
        for answer, is_right in zip(asked.answers, asked.is_right, strict=True)
    ]
