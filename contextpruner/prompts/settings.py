"""What `contextpruner prompt tune` reads: a prompt, rows, a model and searches, in one file of YAML.

`work` is the folder of the run: evaluations.jsonl, from which a run that was stopped goes on, and report/. Paths are
relative to where the command runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from contextpruner.prompts.prompt import Prompt
from contextpruner.prompts.search import build_search
from contextpruner.training.settings import read_settings
from prunekernels import budget
from prunekernels.io.json_files import Fields
from prunekernels.io.yaml_files import read_yaml


@dataclass(frozen=True)
class ModelSettings:
    """The causal language model that prompts are for: a folder or hub id."""

    name: str
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = ""
    # tokens that it reads at a time
    window: int = 2048
    batch_size: int = 8
    prefix_cache: bool = True


@dataclass(frozen=True)
class TuneSettings:
    """`development` and `held_out` are files of JSON lines with `question` and `answer`, which share no question.

    Lengths are `max_tokens`, or `keep_ratios` of the full prompt's. Each search runs once for each length, with up to
    `max_evaluations` there: one prompt on one row each. `shots` is a file of rows that follow the prompt's own shots.
    """

    work: str
    model: ModelSettings
    development: str
    held_out: str
    prompt: Prompt = field(default_factory=Prompt)
    shots: str = ""
    labels: tuple[str, ...] = ()
    objective: Literal["likelihood", "accuracy"] = "likelihood"
    searches: tuple[str, ...] = ("promptquine",)
    keep_ratios: tuple[float, ...] = (0.75, 0.5, 0.25)
    max_tokens: tuple[int, ...] = ()
    max_evaluations: int = 20_000
    # patterns of pieces that are never dropped
    protect: tuple[str, ...] = ()
    development_rows: int = 32
    held_out_rows: int = 500
    # prompts by lot that each pruned prompt is compared with
    random_draws: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.searches or len({*self.searches}) < len(self.searches):
            raise ValueError(f"want searches, each once, got {', '.join(self.searches) or 'none'}")
        for text in self.searches:
            build_search(text)
        for ratio in self.keep_ratios:
            budget.check_keep_ratio(ratio)
        if not self.max_tokens and not self.keep_ratios:
            raise ValueError("want keep_ratios or max_tokens, got neither")
        if min(self.max_tokens, default=0) < 0 or self.max_evaluations < 0:
            raise ValueError(f"want budgets of at least 0, got {self.max_tokens} and {self.max_evaluations}")
        if min(self.development_rows, self.held_out_rows, self.random_draws) < 1 or self.seed < 0:
            raise ValueError("want at least 1 row of each kind, 1 random draw, and a seed of at least 0")

    def lengths(self, n_tokens: int) -> list[int]:
        """The budgets of tokens for a full prompt of `n_tokens`, the longest first."""
        found = self.max_tokens or [budget.n_keep(n_tokens, ratio) for ratio in self.keep_ratios]
        return sorted({*found}, reverse=True)


def read_tune_settings(path: Path) -> TuneSettings:
    """The settings in a file of YAML; raises ValueError with the place of what is wrong."""
    return read_settings(Fields(read_yaml(path), str(path)), TuneSettings)
