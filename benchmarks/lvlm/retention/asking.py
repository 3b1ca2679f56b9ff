"""Questions about a picture to the model under a method, through `tokenpruner` as anybody would call it.

A method that does not read the question gives a picture's tokens once, by `prepare()`, and all questions go in behind
them in one packed pass (`packing`): an answer is right where each of its tokens is the likeliest. One that does gets
each question as a prompt of its own, in `prune()`, and generate() answers. Both say the same of a whole answer.
"""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from benchmarks.lvlm.accuracy import whole_answers
from benchmarks.lvlm.packing import IGNORED, asked_behind, block_mask
from benchmarks.lvlm.questions import Question
from benchmarks.lvlm.retention.cases import reads_text
from benchmarks.lvlm.retention.subject import GRID, Picture, Subject
from benchmarks.lvlm.scene import PATCH
from benchmarks.lvlm.vocabulary import ASSISTANT, END, IDS, IMAGE, PAD, USER, ids_of
from tokenpruner import Report, TokenMethod, prepare, prune
from tokenpruner.base.method_chain import MethodChain
from tokenpruner.methods.downsample import Downsample
from tokenpruner.methods.stride import Stride

Inputs = dict[str, torch.Tensor]


@torch.inference_mode()
def ask(subject: Subject, method: TokenMethod | None, picture: Picture) -> list[bool]:
    """Which of the picture's questions are answered right."""
    if method is not None and reads_text(method):
        return generated(subject, method, picture)[0]
    return _packed(subject, method, picture)


def prompt(pixels: torch.Tensor, question: str = "") -> Inputs:
    """One question about one picture, as the chat template has it."""
    n = pixels.shape[-2] // PATCH * (pixels.shape[-1] // PATCH)
    ids = torch.tensor([[IDS[USER], *[IDS[IMAGE]] * n, *ids_of(question), IDS[ASSISTANT]]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def sized(method: TokenMethod | None, pixels: torch.Tensor) -> torch.Tensor:
    """The picture as the tower gets it: a tower of pictures of one size is handed a smaller one by its processor."""
    if not isinstance(method, Downsample):
        return pixels
    rows, columns = method.resized(GRID)
    return interpolate(pixels, size=(rows * PATCH, columns * PATCH), mode="bicubic", antialias=True)


def hooked(method: TokenMethod | None) -> TokenMethod:
    """What `prune` and `prepare` are given: of a whole picture, or one that is smaller already, all tokens stay."""
    return Stride(keep_ratio=1) if method is None or isinstance(method, Downsample) else method


def _packed(subject: Subject, method: TokenMethod | None, picture: Picture) -> list[bool]:
    model, inputs = subject.whole, prompt(sized(method, picture.pixels))
    prepared = prepare(model, hooked(method), **inputs)
    # the last token stands where a question would begin
    before, places = prepared["inputs_embeds"][:, :-1], prepared["position_ids"][:, :-1]
    asked = asked_behind(picture.questions, int(prepared["position_ids"][0, -1]))
    question = torch.cat([torch.zeros(before.shape[1], dtype=torch.int64), asked.question])[None]
    found = model(
        inputs_embeds=torch.cat([before, model.get_input_embeddings()(asked.text[None])], 1),
        attention_mask=block_mask(question),
        position_ids=torch.cat([places, asked.positions[None]], 1),
        use_cache=False,
        logits_to_keep=len(asked.text),
    )
    is_answer = asked.targets != IGNORED
    hits = found.logits[0].argmax(-1) == asked.targets
    return whole_answers(hits[is_answer], asked.question[is_answer], len(picture.questions))


@torch.inference_mode()
def generated(
    subject: Subject, method: TokenMethod, picture: Picture, hidden: torch.Tensor | None = None
) -> tuple[list[bool], Report]:
    """The same by generate() on a batch of prompts, one a question; and what it cost.

    `hidden` is what the tower says of the picture, where that is known and the method does not read the tower.
    """
    questions, (needs, _) = picture.questions, method.tower_needs()
    in_tower = bool(needs) or (isinstance(method, MethodChain) and method.tower is not None)
    model = subject.whole if in_tower else subject.given
    hidden = subject.hidden(picture.pixels) if hidden is None and not in_tower else hidden
    pixels = picture.pixels if in_tower or hidden is None else hidden
    inputs = prompts(picture, pixels)
    longest = max(len(_told(one)) for one in questions)
    with prune(model, method) as report:
        found = model.generate(**inputs, max_new_tokens=longest, do_sample=False)
    told = found[:, inputs["input_ids"].shape[1] :].tolist()
    return [own[: len(_told(one))] == _told(one) for own, one in zip(told, questions, strict=True)], report


def prompts(picture: Picture, pixels: torch.Tensor) -> Inputs:
    """A prompt for each of the picture's questions, which end together; `pixels` [1, ...] are what the model takes."""
    ids = [prompt(picture.pixels, one.text)["input_ids"][0] for one in picture.questions]
    longest = max(map(len, ids))
    rows = torch.stack([torch.nn.functional.pad(own, (longest - len(own), 0), value=IDS[PAD]) for own in ids])
    pixels = pixels.expand(len(rows), *pixels.shape[1:])
    return {"input_ids": rows, "attention_mask": (rows != IDS[PAD]).long(), "pixel_values": pixels}


def _told(question: Question) -> list[int]:
    return [*ids_of(question.answer), IDS[END]]
