"""What a model is made of: where its data lies, which pictures it sees, its sizes, its training: default.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from benchmarks.lvlm.scene import KINDS
from benchmarks.lvlm.sprites import SPLITS
from prunekernels.io.yaml_files import read_yaml

T = TypeVar("T")


@dataclass(frozen=True)
class Pictures:
    """`number` pictures of a kind in a split, of one size in patches, high and wide."""

    split: str
    kind: str
    grid: tuple[int, int]
    number: int


@dataclass(frozen=True)
class DecoderSettings:
    """Sizes of the Llama."""

    width: int = 256
    inner: int = 704
    layers: int = 4
    heads: int = 4


@dataclass(frozen=True)
class TrainingSettings:
    """`steps` may be raised later, as long as the rate has not begun to fall; the rest is the run's for good."""

    steps: int = 4500
    batch_tokens: int = 4000
    learning_rate: float = 2e-3
    warm_up: int = 200
    decay: float = 0.3
    weight_decay: float = 0.05
    auxiliary: float = 0.5
    thinned: float = 0.4
    least_kept: float = 0.25
    precision: str = "bfloat16"
    validate_every: int = 750
    save_every: int = 250


@dataclass(frozen=True)
class Recipe:
    """A recipe file, checked."""

    data: Path
    run: Path
    tower: Path
    model: Path
    blocks: int
    seed: int
    pictures: tuple[Pictures, ...]
    decoder: DecoderSettings
    training: TrainingSettings

    @staticmethod
    def read(path: Path) -> Recipe:
        """Raises ValueError for what is missing, unknown or of another type."""
        found = read_yaml(path)
        if not isinstance(found, dict):
            raise ValueError(f"{path}: want a mapping")
        wanted = {"data", "run", "tower", "model", "blocks", "seed", "decoder", "training", *SPLITS}
        if found.keys() != wanted:
            raise ValueError(f"{path}: want {', '.join(sorted(wanted))}, got {', '.join(sorted(found))}")
        pictures = [one for split in SPLITS for row in found[split] for one in _pictures(path, split, row)]
        return Recipe(
            **{name: Path(found[name]) for name in ("data", "run", "tower", "model")},
            **{name: int(found[name]) for name in ("blocks", "seed")},
            pictures=tuple(pictures),
            decoder=_settings(path, DecoderSettings, found["decoder"]),
            training=_settings(path, TrainingSettings, found["training"]),
        )


def _pictures(path: Path, split: str, row: object) -> list[Pictures]:
    if not isinstance(row, dict) or not {"grid"} < row.keys() <= {"grid", *KINDS}:
        raise ValueError(f"{path}: want rows of {split} with a grid and numbers of {', '.join(KINDS)}, got {row!r:.80}")
    rows, columns = row["grid"]
    return [Pictures(split, kind, (rows, columns), row[kind]) for kind in KINDS if row.get(kind)]


def _settings(path: Path, kind: type[T], found: object) -> T:
    known = {field.name: type(field.default) for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(found, dict) or not found.keys() <= known.keys():
        raise ValueError(f"{path}: want settings of {', '.join(known)}, got {found!r:.200}")
    return kind(**{name: known[name](value) for name, value in found.items()})
