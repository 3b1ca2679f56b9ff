"""How much each layer is passed by: a genetic search over schedules (FTP, Li et al. 2024, stages 1 and 3).

A schedule is a whole number of percent for each decoder layer, 0 for the first; all schedules have one sum. In each
generation the better half stays; children take each layer from one of two parents, some layers change, and the sum is
made right again (`budget.allocate`). Uniform shares, or those of `start`, are in the first generation, so that what is
found is no worse. The published sizes of the search are not known to us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from prunekernels import budget
from tokenpruner.api import prune
from tokenpruner.methods._ftp_router import check_schedule
from tokenpruner.methods.ftp import FTP, uniform
from tokenpruner.training.ftp_losses import distillation

PERCENT = 100
Schedule = tuple[float, ...]


@dataclass(frozen=True)
class GeneticSearch:
    """`population` schedules over `generations`; a layer changes with probability `mutation`, by up to `step` percent.

    At most the share `most` of the tokens passes a layer by.
    """

    population: int = 16
    generations: int = 12
    mutation: float = 0.2
    step: int = 20
    most: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.population < 2 or self.generations < 0 or self.step < 1:
            raise ValueError(f"want a population of at least 2, generations of at least 0 and a step of 1, got {self}")
        if not (0 < self.mutation <= 1 and 0 < self.most < 1):
            raise ValueError(f"want mutation in (0, 1] and most in (0, 1), got {self}")


def search_schedule(
    loss: Callable[[Schedule], float],
    n_layers: int,
    keep_ratio: float,
    search: GeneticSearch = GeneticSearch(),  # noqa: B008 - it is frozen
    start: Sequence[float] = (),
) -> Schedule:
    """The schedule for `n_layers` with the lowest `loss` that was found; of equal ones the earlier.

    `keep_ratio` of the tokens is computed, the mean over the layers, to a hundredth of a layer. Each schedule is asked
    for once. Raises ValueError where `keep_ratio` cannot be had.
    """
    budget.check_keep_ratio(keep_ratio)
    total, sizes = round((1 - keep_ratio) * n_layers * PERCENT), [0, *[int(search.most * PERCENT)] * (n_layers - 1)]
    if total > sum(sizes):
        least = 1 - sum(sizes) / n_layers / PERCENT
        raise ValueError(f"want a keep_ratio of at least {least:.3g} where {search.most:g} may pass, got {keep_ratio}")
    first = check_schedule(start) if start else uniform(n_layers, keep_ratio)
    if len(first) != n_layers:
        raise ValueError(f"want a start for {n_layers} decoder layers, got one for {len(first)}")
    generator = torch.Generator().manual_seed(search.seed)
    known: dict[Schedule, float] = {}

    def valued(genes: torch.Tensor) -> Schedule:
        counts = budget.allocate(total, sizes, genes)
        schedule = tuple(count / PERCENT for count in counts.tolist())
        if schedule not in known:
            known[schedule] = float(loss(schedule))
        return schedule

    origin = torch.tensor(first, dtype=torch.float64) * PERCENT
    people = [valued(origin)]
    people += [valued(_mutated(origin, generator, replace(search, mutation=1.0))) for _ in range(search.population - 1)]
    for _ in range(search.generations):
        parents = sorted(dict.fromkeys(people), key=known.__getitem__)[: max(2, search.population // 2)]
        people = parents + [
            valued(_mutated(_child(parents, generator), generator, search))
            for _ in range(search.population - len(parents))
        ]
    return min(known, key=known.__getitem__)


def _child(parents: Sequence[Schedule], generator: torch.Generator) -> torch.Tensor:
    """Each layer of one of two parents."""
    places = torch.randint(len(parents), (2,), generator=generator).tolist()
    one, other = (torch.tensor(parents[place], dtype=torch.float64) * PERCENT for place in places)
    return torch.where(torch.rand(len(one), generator=generator) < 0.5, one, other)


def _mutated(genes: torch.Tensor, generator: torch.Generator, search: GeneticSearch) -> torch.Tensor:
    """Some layers but the first changed by up to `step` percent."""
    change = torch.randint(-search.step, search.step + 1, (len(genes),), generator=generator)
    changes = torch.rand(len(genes), generator=generator) < search.mutation
    changed = (genes + change * changes).clamp(min=0)
    changed[0] = 0
    return changed


def schedule_loss(
    model: nn.Module, batches: Sequence[Mapping[str, torch.Tensor]], method: FTP | None = None
) -> Callable[[Schedule], float]:
    """What a schedule costs: the distillation of `model` with it, mean over `batches` of the model's inputs.

    Over real tokens. `method` has weights where a trained router chooses, by default the static one does. The model is
    run without pruning once for each batch, here.
    """
    method = FTP() if method is None else method
    with torch.no_grad():
        whole = [model(**batch).logits for batch in batches]

    @torch.no_grad()
    def loss(schedule: Schedule) -> float:
        losses = []
        with prune(model, replace(method, keep_ratio=FTP.keep_ratio, schedule=schedule)):
            for batch, wanted in zip(batches, whole, strict=True):
                mask = batch["attention_mask"].bool()
                losses.append(distillation(model(**batch).logits, wanted, mask))
        return float(torch.stack(losses).mean())

    return loss
