"""tokenpruner on a LLaVA of real parts: which patches stay, and what the decoder's prefill takes then.

The projector between the two parts is untrained, so that the model's words about a picture mean nothing yet; the
patches, the counts and the times do.
"""

from __future__ import annotations

import functools
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

import tokenpruner
from demo import assets
from tokenpruner.base.before_decoder import Method
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride
from tokenpruner.report.plots import side_by_side

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

KEEP_RATIO, REPEATS = 0.1, 3


def run(out: Path, console: Console) -> list[Path]:
    """Draw the kept patches of each photograph into `out`; returns the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    methods = {
        "all tokens": Stride(keep_ratio=1),
        "DivPrune": DivPrune(keep_ratio=KEEP_RATIO),
        "random": Random(keep_ratio=KEEP_RATIO),
        "stride": Stride(keep_ratio=KEEP_RATIO),
    }
    timed: dict[str, list[tokenpruner.Report]] = {name: [] for name in methods}
    pictures: list[Path] = []
    for title, path in assets.photos().items():
        model, inputs = load(title)
        # the first photograph is timed, every method in turn; of the others only the patches are wanted
        for _ in range(1 if pictures else REPEATS):
            for name, method in methods.items():
                if not pictures or name != "all tokens":
                    timed[name].append(_prefill(model, method, inputs))
        kept = {name: reports[-1].images[0] for name, reports in timed.items() if name != "all tokens"}
        pictures.append(out / f"{title}.png")
        side_by_side(_square(path), kept, title=title).save(pictures[-1])
    console.print(_table({name: reports[:REPEATS] for name, reports in timed.items()}))
    return pictures


def load(title: str) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    """The LLaVA and its inputs: a question about the photograph `title`."""
    model, processor = _loaded()
    question = f"{assets.IMAGE_TOKEN} What is this?"
    return model, processor(images=_square(assets.photos()[title]), text=question, return_tensors="pt")


@functools.cache
def _loaded() -> tuple[PreTrainedModel, ProcessorMixin]:
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(assets.llava(), dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(assets.llava())


@torch.inference_mode()
def _prefill(model: torch.nn.Module, method: Method, inputs: dict[str, torch.Tensor]) -> tokenpruner.Report:
    with tokenpruner.prune(model, method) as report:
        model(**inputs, logits_to_keep=1)
    return report


def _square(path: Path) -> Image.Image:
    """The middle of a photograph, which is what the model sees."""
    photo = Image.open(path).convert("RGB")
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    return photo.crop((left, top, left + side, top + side))


def _table(timed: dict[str, list[tokenpruner.Report]]) -> Table:
    title = f"Prefill of one photograph, median of {REPEATS} runs, {torch.get_num_threads()} CPU threads"
    table = Table("method", title=title, title_justify="left")
    for name in ("visual tokens", "selection, ms", "decoder, ms", "speed-up", "decoder GFLOP", "KV cache, MB"):
        table.add_column(name, justify="right")
    full = _median(timed["all tokens"])
    for name, reports in timed.items():
        last, took = reports[-1], _median(reports)
        cells = (
            f"{last.visual_after} of {last.visual_before}",
            f"{statistics.median(report.selection_ms for report in reports):.1f}",
            f"{statistics.median(report.prefill_ms for report in reports):.0f}",
            f"{full / took:.1f} x",
            f"{(last.flops_after or 0) / 1e9:.0f}",
            f"{(last.kv_bytes_after or 0) / 1e6:.0f}",
        )
        table.add_row(name, *cells)
    return table


def _median(reports: list[tokenpruner.Report]) -> float:
    """Milliseconds of selection and decoder together."""
    return statistics.median(report.prefill_ms for report in reports)
