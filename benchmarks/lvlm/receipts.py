"""Which patches methods keep of scanned receipts: those of the fields that somebody would ask for, or others?

    python -m benchmarks.lvlm.receipts FOLDER                  sroie_126.npz and .jsonl.gz of ICDAR 2019 SROIE
    ... --receipts 8 --no-record                               a first look

No language model is asked: the answer to a question about a receipt stands in boxes that are known. A row has the mean
share of a field's patches that are kept, with its 95 % interval over receipts, beside the share of all patches that
are; random choice keeps as many of a field as of all. A value that stands in several boxes may be read in any of them;
an address is all of its lines. Methods are those before the decoder that do not read the question, on the tower of the
model of this folder; the longer side of a receipt has `SIDE` patches, so that print is small for it, as it is in use.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.harness import record
from benchmarks.lvlm.assembly import assembled
from benchmarks.lvlm.retention.asking import hooked, prompt
from benchmarks.lvlm.retention.cases import Case, cases, reads_text
from benchmarks.lvlm.retention.intervals import mean_interval
from benchmarks.lvlm.retention.subject import Subject
from benchmarks.lvlm.scene import PATCH
from benchmarks.lvlm.tower import pixels_of
from prunekernels import budget
from tokenpruner import Method, TokenMethod, prune
from tokenpruner.methods.downsample import Downsample

HERE = Path(__file__).parent
SIDE, RATIOS, N_RECEIPTS, NAME = 32, (0.25, 0.11), 126, "sroie_126"
FIELDS = ("company", "date", "address", "total")
# every line of it is needed
WHOLE = "address"


@dataclass(frozen=True)
class Receipt:
    """`pixels` float32 [1, 3, H, W] of whole patches; `fields` by name, each of boxes' patches, any or all of them."""

    pixels: torch.Tensor
    grid: tuple[int, int]
    fields: Mapping[str, list[frozenset[int]]]


@dataclass(frozen=True)
class Row:
    """A method at a share of the patches: what it keeps of all of them, of a receipt's fields in the mean, of each."""

    method: str
    keep_ratio: float
    receipts: int
    kept: float
    of_fields: float
    low: float
    high: float
    company: float | None = None
    date: float | None = None
    address: float | None = None
    total: float | None = None


def main() -> None:
    """Read, choose, record."""
    options = _options()
    torch.set_num_threads(options.threads)
    subject = Subject.load(assembled(options.model, options.tower, options.whole))
    receipts = [*read(options.folder, options.receipts)]
    found = []
    for case in cases(RATIOS):
        if (method := _choosing(case)) is not None:
            own = row(case, [chosen(subject, method, receipt) for receipt in receipts], receipts)
            if own is not None:
                found.append(own)
                print(own, flush=True)
    if not options.no_record:
        print(record("receipts", found))


def read(folder: Path, n: int) -> Iterator[Receipt]:
    """The first receipts of a folder."""
    with np.load(folder / f"{NAME}.npz") as held:
        data, offset = held["jpeg"], held["offset"]
    with gzip.open(folder / f"{NAME}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in zip(range(n), lines, strict=False):
            said = json.loads(line)
            picture = Image.open(io.BytesIO(data[offset[number] : offset[number + 1]].tobytes()))
            fields = {
                name: [said["boxes"][place][:4] for place in field["boxes"]] for name, field in said["fields"].items()
            }
            yield receipt(picture, fields)


def receipt(picture: Image.Image, fields: Mapping[str, Sequence[Sequence[float]]]) -> Receipt:
    """`picture` in patches; `fields` are boxes left, top, right, bottom in its pixels."""
    scale = SIDE * PATCH / max(picture.size)
    columns, rows = (max(round(side * scale / PATCH), 1) for side in picture.size)
    resized = picture.convert("RGB").resize((columns * PATCH, rows * PATCH), Image.Resampling.BICUBIC)
    sides = (columns / picture.width, rows / picture.height)
    placed = {name: [_patches(box, sides, (rows, columns)) for box in own] for name, own in fields.items() if own}
    whole = {name: [frozenset[int]().union(*own)] if name == WHOLE else own for name, own in placed.items()}
    return Receipt(pixels_of(resized), (rows, columns), whole)


def _patches(box: Sequence[float], sides: tuple[float, float], grid: tuple[int, int]) -> frozenset[int]:
    """The places of the patches that a box touches."""
    left, top, right, bottom = box
    (wide, high), (rows, columns) = sides, grid
    across = range(int(left * wide), min(int(np.ceil(right * wide)), columns))
    down = range(int(top * high), min(int(np.ceil(bottom * high)), rows))
    return frozenset(row * columns + column for row in down for column in across)


def _choosing(case: Case) -> TokenMethod | None:
    """The case's method, if it chooses patches by the picture alone."""
    if case.positions != "keep":
        return None
    try:
        method = case.method()
    except ValueError:
        return None
    is_fit = isinstance(method, Method) and not isinstance(method, Downsample) and not reads_text(method)
    return method if is_fit else None


@torch.inference_mode()
def chosen(subject: Subject, method: TokenMethod, receipt: Receipt) -> frozenset[int]:
    """The places of the patches that `method` keeps."""
    needs, _ = method.tower_needs()
    model = subject.whole if needs else subject.given
    inputs = prompt(receipt.pixels)
    if not needs:
        inputs["pixel_values"] = subject.hidden(receipt.pixels)
    with prune(model, hooked(method)) as report:
        model(**inputs, logits_to_keep=1)
    return frozenset(report.images[0].patches)


def row(case: Case, kept: Sequence[frozenset[int]], receipts: Sequence[Receipt]) -> Row | None:
    """What is kept of `receipts`; None for a method that keeps no patches as they are."""
    sizes = [one.grid[0] * one.grid[1] for one in receipts]
    if any(len(own) > budget.n_keep(size, case.keep_ratio) for own, size in zip(kept, sizes, strict=True)):
        return None
    shares = [
        {name: max(len(own & box) / len(box) for box in boxes) for name, boxes in one.fields.items()}
        for own, one in zip(kept, receipts, strict=True)
    ]
    means = [float(np.mean([*own.values()])) for own in shares if own]
    fields = {name: [own[name] for own in shares if name in own] for name in FIELDS}
    return Row(
        case.text or "",
        case.keep_ratio,
        len(means),
        float(np.mean([len(own) / size for own, size in zip(kept, sizes, strict=True)])),
        float(np.mean(means)),
        *mean_interval(means),
        **{name: float(np.mean(own)) for name, own in fields.items() if own},
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=HERE / "model", help="what was trained")
    parser.add_argument("--tower", type=Path, help="a DINOv2, by default that of the demo")
    parser.add_argument("--whole", type=Path, default=Path(".models/lvlm"), help="both together, made on first use")
    parser.add_argument("--receipts", type=int, default=N_RECEIPTS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-record", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
