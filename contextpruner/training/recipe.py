"""A recipe: everything that makes a pruner out of question sets and an encoder, in one file of YAML.

`work` is the folder that all steps share: examples/, student/, packed/, run/. Another run on the same rows names its
own folder, `run`, which then has its student, too. `extends` names a recipe beside this one: what is said here goes
before what it says, key by key of each section. Paths are relative to where the command runs, but for that one. The
same recipe, data and seed give the same examples and rows to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contextpruner.training.settings import read_settings
from prunekernels.io.json_files import Fields, Json
from prunekernels.io.yaml_files import read_yaml

EXTENDS = "extends"


@dataclass(frozen=True)
class Source:
    """A file of questions under the folder of sources. Sources of one `family` share documents: split as one.

    `asked` "blind" is for questions that were asked without seeing the passage; they are judged apart.
    """

    path: str
    form: Literal["offsets", "sentences", "passages", "supporting_facts", "meetings", "answers", "examples"]
    language: str
    family: str
    licence: str
    limit: int | None = None
    # how often a question is learnt from, each time in another form
    repeat: int = 1
    asked: Literal["seen", "blind"] = "seen"

    @property
    def name(self) -> str:
        return self.path.partition(".")[0]


@dataclass(frozen=True)
class ExampleSettings:
    """Shares are of the examples to learn from; those to validate by stay as the sets have them."""

    sources: tuple[Source, ...]
    # only sources of these licences are read
    licences: tuple[str, ...] = ("A",)
    # of the articles of a family, and of families that have few
    validation: float = 0.1
    small_families: tuple[str, ...] = ()
    validation_of_small: float = 0.2
    # questions of each source
    validation_limit: int = 400
    # what shares text with these is left out and counted
    evaluation: tuple[Source, ...] = ()
    allow_overlap: bool = False
    negatives: float = 0.4
    # of the negatives, those out of the same article where it has other passages
    same_article: float = 0.3
    # of the others, those that embeddings of a sentence-transformers model find, and not BM25
    embedded_negatives: float = 0.0
    negative_model: str = ""
    titled: float = 0.6
    short_passages: float = 0.25
    structured: float = 0.08
    polite: float = 0.1
    misspelt: float = 0.06
    keywords: float = 0.06


@dataclass(frozen=True)
class StudentSettings:
    """What is cut out of the base encoder; `layers` are the base's, by number from 0, all of them where none is given.

    Pieces of the vocabulary stay by how often the examples have them, up to `vocabulary`; 0 keeps all of them. With
    `matched_token_types` the encoder is told which tokens question and text share. A base that is a pruner already (one
    of another run, say) keeps its heads, and is learnt on from.
    """

    base: str
    layers: tuple[int, ...] = ()
    vocabulary: int = 0
    max_length: int = 384
    matched_token_types: bool = False


@dataclass(frozen=True)
class TrainingSettings:
    """One run; its length is `tokens`, of which the learning rate's schedule is made, however fast a machine is.

    Losses of weight 0 are not computed. `labelled`: which tokens the token loss takes, "text" alone, or "padded", the
    whole batch with 0 for what is no text (as Provence was trained).
    """

    tokens: int
    batch_tokens: int = 4096
    accumulate: int = 1
    learning_rate: float = 2e-4
    warm_up: float = 0.05
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    train_embeddings: bool = False
    labelled: Literal["text", "padded"] = "text"
    token_loss: float = 0.5
    unit_loss: float = 1.0
    listwise_loss: float = 0.3
    ranking_loss: float = 0.3
    ranking: Literal["labels", "scores"] = "labels"
    # a folder with a pruner of the same tokenizer; it reads every batch, too
    teacher: str = ""
    distillation_loss: float = 0.0
    validate_every: int = 500
    # tokens of the validation rows that are read each time
    validation_tokens: int = 300_000
    save_every: int = 100
    # steps of which the log has one line
    tell_every: int = 20
    # validations without a better area before the run ends; 0 never ends it
    patience: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """All settings."""

    work: str
    examples: ExampleSettings
    student: StudentSettings
    training: TrainingSettings
    seed: int = 0
    sources: str = "."
    run: str = ""

    def folder(self, step: Literal["examples", "student", "packed", "run"]) -> Path:
        """Where a step writes."""
        if self.run and step in ("run", "student"):
            return Path(self.run) if step == "run" else Path(self.run) / step
        return Path(self.work) / step


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file of YAML; raises ValueError with the place of what is wrong."""
    return read_settings(Fields(_whole(path), str(path)), Recipe)


def _whole(path: Path, above: tuple[Path, ...] = ()) -> Json:
    """What the file says, with what it extends."""
    said = read_yaml(path)
    if not isinstance(said, dict) or EXTENDS not in said:
        return said
    name = said.pop(EXTENDS)
    if not isinstance(name, str) or (path.parent / name).resolve() in (*above, path.resolve()):
        raise ValueError(f"{path}: {EXTENDS}: want the name of another recipe, got {name!a:.80}")
    base = _whole(path.parent / name, (*above, path.resolve()))
    if not isinstance(base, dict):
        raise ValueError(f"{path.parent / name}: want an object of settings, got {base!a:.80}")
    for key, value in said.items():
        held = base.get(key)
        base[key] = {**held, **value} if isinstance(held, dict) and isinstance(value, dict) else value
    return base
