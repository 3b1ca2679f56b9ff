"""Rows in safetensors shards: flat arrays, read one shard at a time, so that memory does not grow with the data.

packed/train-00000.safetensors, ...      packed/validation-00000.safetensors, ...
ids      int32 [tokens]      tokens of all rows, one behind the other
unit     int16 [tokens]      the unit's place in its row, or -1
start    int64 [rows + 1]    where each row begins in ids
second   int32 [rows]        where its second text begins, from the row's beginning
gold     uint8 [units]       1 where the unit answers
size     int32 [units]       its characters
unit_start int64 [rows + 1]  where each row's units begin in gold
rank     float32 [rows]      1 where the row answers, 0 where it does not; or a teacher's raw score
example  int64 [rows]        the number of the question, over all shards
document int32 [rows]        the document's place in its question
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from contextpruner.models.loading import tokenizer_of
from contextpruner.models.packing import paired
from contextpruner.training.examples.example import Split, read_training_examples
from contextpruner.training.packed.rows import RowPacker, TrainingRow
from contextpruner.training.recipe import Recipe
from contextpruner.training.student.encoder import TOKENIZER
from prunekernels.extras import require
from prunekernels.io.checkpoint import Checkpoint, safetensors_errors
from prunekernels.io.json_files import Fields
from prunekernels.io.outputs import atomic_folder

KIND, MANIFEST, FORMAT = "contextpruner packed rows", "manifest.json", 1
SHARD_TOKENS = 4_000_000
ARRAYS = ("ids", "unit", "start", "second", "gold", "size", "unit_start", "rank", "example", "document")


@dataclass(frozen=True)
class Shard:
    """The arrays of one file."""

    ids: np.ndarray
    unit: np.ndarray
    start: np.ndarray
    second: np.ndarray
    gold: np.ndarray
    size: np.ndarray
    unit_start: np.ndarray
    rank: np.ndarray
    example: np.ndarray
    document: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """The tokens of each row, int64 [rows]."""
        return np.diff(self.start)


@dataclass(frozen=True)
class PackedFolder:
    """The shards of a folder, and what is in them."""

    folder: Path
    rows: dict[str, int]
    tokens: dict[str, int]
    files: dict[str, list[str]]
    # of the file that they were tokenised by
    tokenizer: str

    @classmethod
    def open(cls, folder: Path) -> PackedFolder:
        """Read the manifest; raises ValueError where there is none."""
        held = Fields.read(folder / MANIFEST)
        held.format(FORMAT)
        splits = {name: held.fields(name) for name in ("train", "validation")}
        return cls(
            folder,
            {name: one.integer("rows", 0) for name, one in splits.items()},
            {name: one.integer("tokens", 0) for name, one in splits.items()},
            {name: one.texts("files") for name, one in splits.items()},
            held.text("tokenizer"),
        )

    def read(self, file: str) -> Shard:
        """The arrays of one of `files`."""
        from safetensors.numpy import load_file

        with safetensors_errors(self.folder / file):
            held = load_file(self.folder / file)
        return Shard(**{name: held[name] for name in ARRAYS})


def tokenizer_digest(student: Path) -> str:
    """32 hex digits of the tokenizer in the folder `student`: rows are numbers of its pieces."""
    return blake2b((student / TOKENIZER).read_bytes(), digest_size=16).hexdigest()


def pack_examples(recipe: Recipe, *, overwrite: bool = False) -> PackedFolder:
    """Pack the examples of `recipe` with its student's tokenizer into its folder of packed rows."""
    student = Checkpoint(recipe.folder("student"))
    tokenizer = tokenizer_of(student, require("transformers", "context").PretrainedConfig())
    packer = RowPacker(tokenizer, paired(tokenizer), recipe.student.max_length)
    out = recipe.folder("packed")
    with atomic_folder(out, KIND, overwrite=overwrite, inputs=[student.folder, recipe.folder("examples")]) as made:
        manifest: dict[str, object] = {"format": FORMAT, "tokenizer": tokenizer_digest(student.folder)}
        for split in ("train", "validation"):
            manifest[split] = _write(made, split, _rows(recipe, packer, split))
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return PackedFolder.open(out)


def _rows(recipe: Recipe, packer: RowPacker, split: Split) -> Iterator[tuple[int, TrainingRow]]:
    path = recipe.folder("examples") / f"{split}.jsonl"
    for number, example in enumerate(read_training_examples(path)):
        draw = random.Random(f"{recipe.seed} {example.id}") if split == "train" else None
        for row in packer.rows(example, draw):
            # a row without units teaches nothing
            if len(row.gold):
                yield number, row


def _write(folder: Path, split: Split, rows: Iterable[tuple[int, TrainingRow]]) -> dict[str, object]:
    """Write the shards of one split; returns its part of the manifest."""
    files: list[str] = []
    held: list[tuple[int, TrainingRow]] = []
    n_rows, n_tokens, waiting = 0, 0, 0

    def write() -> None:
        files.append(f"{split}-{len(files):05}.safetensors")
        _save(folder / files[-1], held)
        held.clear()

    for number, row in rows:
        held.append((number, row))
        n_rows, n_tokens, waiting = n_rows + 1, n_tokens + len(row.ids), waiting + len(row.ids)
        if waiting >= SHARD_TOKENS:
            write()
            waiting = 0
    if held:
        write()
    return {"rows": n_rows, "tokens": n_tokens, "files": files}


def _save(file: Path, rows: list[tuple[int, TrainingRow]]) -> None:
    from safetensors.numpy import save_file

    own = [row for _, row in rows]
    save_file(
        {
            "ids": np.concatenate([row.ids for row in own]).astype(np.int32),
            "unit": np.concatenate([row.unit for row in own]).astype(np.int16),
            "start": _starts([len(row.ids) for row in own]),
            "second": np.array([row.second for row in own], np.int32),
            "gold": np.concatenate([row.gold for row in own]).astype(np.uint8),
            "size": np.concatenate([row.sizes for row in own]).astype(np.int32),
            "unit_start": _starts([len(row.gold) for row in own]),
            "rank": np.array([row.gold.any() for row in own], np.float32),
            "example": np.array([number for number, _ in rows], np.int64),
            "document": np.array([row.document for row in own], np.int32),
        },
        file,
    )


def _starts(sizes: list[int]) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
