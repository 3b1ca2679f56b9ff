"""What a model is made of: where its data lies, which pictures it sees, its sizes, its training: default.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.lvlm.scene import KINDS
from benchmarks.lvlm.sprites import SPLITS
from contextpruner.training.settings import read_settings
from prunekernels.io.json_files import Fields
from prunekernels.io.yaml_files import read_yaml


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
        file = read_settings(Fields(read_yaml(path), str(path)), RecipeFile)
        rows = {"train": file.train, "validation": file.validation, "test": file.test}
        return Recipe(
            data=Path(file.data),
            run=Path(file.run),
            tower=Path(file.tower),
            model=Path(file.model),
            blocks=file.blocks,
            seed=file.seed,
            pictures=tuple(one for split in SPLITS for row in rows[split] for one in row.pictures(split)),
            decoder=file.decoder,
            training=file.training,
        )


@dataclass(frozen=True)
class Row:
    """A line of the recipe: so many pictures of each kind, of one size."""

    grid: tuple[int, ...]
    main: int = 0
    small: int = 0
    reading: int = 0

    def __post_init__(self) -> None:
        if len(self.grid) != 2:
            raise ValueError(f"want a grid as rows and columns, got {self.grid}")

    def pictures(self, split: str) -> list[Pictures]:
        """Those of a split."""
        rows, columns = self.grid
        return [Pictures(split, kind, (rows, columns), getattr(self, kind)) for kind in KINDS if getattr(self, kind)]


@dataclass(frozen=True)
class RecipeFile:
    """What a file says."""

    data: str
    run: str
    tower: str
    model: str
    blocks: int
    seed: int
    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    test: tuple[Row, ...]
    decoder: DecoderSettings
    training: TrainingSettings
