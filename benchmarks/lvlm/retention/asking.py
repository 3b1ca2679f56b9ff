"""Questions about pictures to the model under a method, through `tokenpruner` as anybody would call it.

A method that does not read the question gives a picture's tokens once, by `prepare()`, and all questions go in behind
them in one packed pass (`packing`): an answer is right where each of its tokens is the likeliest. One that does gets
each question as a prompt of its own, in `prune()`, and generate() answers. Both say the same of a whole answer.

Pictures are asked about in batches. What the tower says of them is made once (`subject`), and so is what prompts about
one picture begin with (`repeats`): with the same answers as one picture at a time through the whole model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate, pad
from torch.nn.utils.rnn import pad_sequence

from benchmarks.lvlm.accuracy import whole_answers
from benchmarks.lvlm.packing import IGNORED, asked_behind, block_mask
from benchmarks.lvlm.questions import Question
from benchmarks.lvlm.retention.cases import in_tower, reads_text
from benchmarks.lvlm.retention.repeats import Repeats, computed_once
from benchmarks.lvlm.retention.subject import GRID, Picture, Subject
from benchmarks.lvlm.scene import PATCH
from benchmarks.lvlm.vocabulary import ASSISTANT, END, IDS, IMAGE, PAD, USER, ids_of
from tokenpruner import Report, TokenMethod, prepare, prune
from tokenpruner.methods.downsample import Downsample
from tokenpruner.methods.stride import Stride

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

Inputs = dict[str, torch.Tensor]
Marks = list[list[bool]]


@dataclass(frozen=True)
class Batch:
    """How many pictures, or about so many prompts, are asked together; more pay on a GPU."""

    pictures: int = 8
    prompts: int = 40

    @staticmethod
    def on(device: torch.device) -> Batch:
        """What pays there."""
        return Batch(64, 512) if device.type == "cuda" else Batch()


@torch.inference_mode()
def ask(subject: Subject, methods: Sequence[TokenMethod | None], pictures: Sequence[Picture]) -> list[Marks]:
    """Which questions about each picture are answered right, for each of `methods`, which differ in positions alone."""
    size = Batch.on(subject.device)
    readers = [one for one in methods if one is not None and reads_text(one)]
    if readers:
        return [[own for part in _parts(pictures, size) for own in generated(subject, one, part)[0]] for one in readers]
    found: list[Marks] = [[] for _ in methods]
    for first in range(0, len(pictures), size.pictures):
        own = pictures[first : first + size.pictures]
        prepared = _prepared(subject, methods[0], own)
        for marks, method in zip(found, methods, strict=True):
            marks += _packed(subject, placed(prepared, method), own)
    return found


def _parts(pictures: Sequence[Picture], size: Batch) -> Iterator[list[Picture]]:
    """With as many prompts as go together, or those of one picture."""
    part: list[Picture] = []
    for one in pictures:
        if part and sum(len(own.questions) for own in [*part, one]) > size.prompts:
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def prompt(pixels: torch.Tensor, question: str = "", n_tokens: int | None = None) -> Inputs:
    """One question about each of a few pictures, as the chat template has it; `n_tokens` where pixels do not say it."""
    n = pixels.shape[-2] // PATCH * (pixels.shape[-1] // PATCH) if n_tokens is None else n_tokens
    row = [IDS[USER], *[IDS[IMAGE]] * n, *ids_of(question), IDS[ASSISTANT]]
    ids = torch.tensor([row] * len(pixels), device=pixels.device)
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


def _entering(
    subject: Subject, method: TokenMethod | None, pictures: Sequence[Picture]
) -> tuple[LlavaForConditionalGeneration, torch.Tensor]:
    """As little of the model as the method needs, and what that takes of the pictures."""
    if isinstance(method, Downsample) or (method is not None and in_tower(method)):
        return subject.whole, torch.cat([sized(method, one.pixels) for one in pictures]).to(subject.device)
    seen = subject.seen(pictures)
    if method is not None and method.tower_needs()[0]:
        return subject.late, torch.stack([one.late for one in seen])
    return subject.given, torch.stack([one.hidden for one in seen])


def _prepared(subject: Subject, method: TokenMethod | None, pictures: Sequence[Picture]) -> Inputs:
    """What is left of the pictures, in front of any question."""
    model, pixels = _entering(subject, method, pictures)
    n_tokens = None if model is subject.whole else GRID[0] * GRID[1]
    return prepare(model, hooked(method), **prompt(pixels, n_tokens=n_tokens))


def placed(prepared: Inputs, method: TokenMethod | None) -> Inputs:
    """What `prepare` gives under a method that differs in its positions alone, which "compact" counts anew."""
    if getattr(method, "positions", "keep") != "compact":
        return prepared
    mask = prepared["attention_mask"]
    return prepared | {"position_ids": (mask.cumsum(1) - 1) * mask}


def _packed(subject: Subject, prepared: Inputs, pictures: Sequence[Picture]) -> Marks:
    """The answers to all questions, in a row a picture."""
    # the last token stands where a question would begin
    before, places, mask = (prepared[name][:, :-1] for name in ("inputs_embeds", "position_ids", "attention_mask"))
    behind = prepared["position_ids"][:, -1].tolist()
    asked = [asked_behind(one.questions, start) for one, start in zip(pictures, behind, strict=True)]
    fills = {"text": IDS[PAD], "positions": 0, "question": -1, "targets": IGNORED}
    text, positions, question, targets = (
        pad_sequence([getattr(one, name) for one in asked], batch_first=True, padding_value=fill).to(before.device)
        for name, fill in fills.items()
    )
    embeds = torch.cat([before, subject.given.get_input_embeddings()(text)], 1)
    said = subject.given(
        inputs_embeds=embeds,
        attention_mask=block_mask(torch.cat([mask - 1, question], 1)),
        position_ids=torch.cat([places, positions], 1),
        use_cache=False,
        logits_to_keep=text.shape[1],
    )
    hits, question, is_answer = (one.cpu() for one in (said.logits.argmax(-1) == targets, question, targets != IGNORED))
    rows = zip(hits, question, is_answer, pictures, strict=True)
    return [whole_answers(hit[own], number[own], len(one.questions)) for hit, number, own, one in rows]


@torch.inference_mode()
def generated(subject: Subject, method: TokenMethod, pictures: Sequence[Picture]) -> tuple[Marks, Report]:
    """The same by generate() on a batch of prompts, one a question; and what it cost."""
    model, pixels = _entering(subject, method, pictures)
    inputs = prompts(pictures, pixels)
    owners = [place for place, one in enumerate(pictures) for _ in one.questions]
    ids = inputs["input_ids"]
    starts, n_tokens = (ids == IDS[PAD]).sum(1).tolist(), int((ids[0] == IDS[IMAGE]).sum())
    # the picture's tokens, and what stands before them
    of_prompts = Repeats.of(owners, starts, ids.shape[1], 1 + n_tokens).to(ids.device)
    of_pictures = Repeats.of(owners, [0] * len(owners), n_tokens, n_tokens).to(ids.device)
    once = computed_once(model, {(len(ids), ids.shape[1]): of_prompts}, {(len(ids), n_tokens): of_pictures})
    longest = max(len(_told(one)) for picture in pictures for one in picture.questions)
    with once, prune(model, method) as report:
        found = model.generate(**inputs, max_new_tokens=longest, do_sample=False)
    told = iter(found[:, ids.shape[1] :].tolist())
    answers = [[(_told(one), next(told)) for one in picture.questions] for picture in pictures]
    return [[own[: len(wanted)] == wanted for wanted, own in picture] for picture in answers], report


def prompts(pictures: Sequence[Picture], pixels: torch.Tensor) -> Inputs:
    """A prompt for each question, which end together; `pixels` [n, ...] are what the model takes of the pictures."""
    n_tokens = GRID[0] * GRID[1]
    ids = [
        prompt(own[None], question.text, n_tokens)["input_ids"][0]
        for one, own in zip(pictures, pixels, strict=True)
        for question in one.questions
    ]
    longest = max(map(len, ids))
    rows = torch.stack([pad(own, (longest - len(own), 0), value=IDS[PAD]) for own in ids])
    counts = torch.tensor([len(one.questions) for one in pictures], device=pixels.device)
    pixels = pixels.repeat_interleave(counts, 0)
    return {"input_ids": rows, "attention_mask": (rows != IDS[PAD]).long(), "pixel_values": pixels}


def _told(question: Question) -> list[int]:
    return [*ids_of(question.answer), IDS[END]]
