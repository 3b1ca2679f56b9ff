"""Is it worth choosing a schedule for each input? `flows` beside the best fixed schedule at equal FLOPs, on this model.

    python -m benchmarks.lvlm.flows             trains a router for each budget, asks, records
    python -m benchmarks.lvlm.flows --small     a look at it

The router learns on prompts about validation pictures, by how far the pruned model agrees with the whole one, and sees
no label. The fixed schedule is the one, of several ways to cut and skip that each spend the same FLOPs, which answers
most of the validation questions right, so that it is chosen with labels. Both are asked about test pictures, through
generate(); the interval of their difference is over pictures drawn anew.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.harness import record
from benchmarks.lvlm.assembly import assembled
from benchmarks.lvlm.retention.asking import Inputs, generated, prompts
from benchmarks.lvlm.retention.costs import N_TEXT, layer_costs
from benchmarks.lvlm.retention.intervals import Verdict, difference_interval, verdict
from benchmarks.lvlm.retention.subject import GRID, Picture, Subject, pictures
from benchmarks.lvlm.scene import KINDS
from benchmarks.lvlm.sprites import Sprites
from tokenpruner import Report
from tokenpruner.base.layer_flow import Flow
from tokenpruner.methods.flows import Flows
from tokenpruner.report.flops import LayerCost
from tokenpruner.training import FlowTraining, agreements, train_router

HERE = Path(__file__).parent
N_TOKENS, LONGEST_ANSWER = GRID[0] * GRID[1], 8
# what a router chooses from
SCHEDULES = (
    *("full", "1:0.75", "1:0.5", "1:0.25", "1:0.11", "1:0.25+3:skip"),
    *("1:0.75+2:0.5+3:0.25", "1:0.5+2:0.25+3:0.11"),
)
# ways to spend a budget on all inputs alike, by the share x of the tokens that is left
FIXED: tuple[Callable[[float], str], ...] = (
    lambda x: f"1:{x:.4g}",
    lambda x: f"2:{x:.4g}",
    lambda x: f"3:{x:.4g}",
    lambda x: f"1:{x:.4g}+2:{x**2:.4g}+3:{x**3:.4g}",
    lambda x: f"2:{x:.4g}+3:{x**2:.4g}",
    lambda x: f"1:{x:.4g}+2:skip",
    lambda x: f"1:{x:.4g}+3:skip",
)
Marks = list[list[bool]]
# pictures by kind
Asked = dict[str, list[Picture]]


@dataclass(frozen=True)
class Sizes:
    """How many questions about each kind of picture a router learns from, fixed schedules are tried on, both get."""

    learn: int
    tried: int
    asked: int


WHOLE, SMALL = Sizes(200, 60, 300), Sizes(12, 6, 10)


@dataclass(frozen=True)
class Row:
    """At a `budget` of the decoder's FLOPs, on test pictures of a kind: accuracy of all tokens, `fixed` and `flows`.

    Shares are of the FLOPs of all tokens, the router's own included; `difference` is flows less fixed, `low` and `high`
    its 95 % interval, and the verdict says whether that holds 0. `chosen` are the schedules that the router gave.
    """

    budget: float
    pictures: str
    asked: int
    full: float
    fixed: float
    flows: float
    difference: float
    low: float
    high: float
    verdict: Verdict
    fixed_share: float
    flows_share: float
    schedule: str
    chosen: str


@dataclass
class Answers:
    """By kind and picture which questions are right; what each prompt cost, as a share, and the schedule it got."""

    right: dict[str, Marks]
    shares: dict[str, list[float]]
    schedules: dict[str, list[str]]


def main() -> None:
    """Train, choose, ask, print and record."""
    options = _options()
    torch.set_num_threads(options.threads)
    started, sizes = time.monotonic(), SMALL if options.small else WHOLE
    subject = Subject.load(assembled(options.model, options.tower, options.whole))
    held = _drawn(options.sprites, "validation", sizes.learn)
    found = agreements(subject.given, _batches(subject, held), Flows(SCHEDULES), LONGEST_ANSWER)
    print(f"{time.monotonic() - started:.0f} s  {len(found.features)} inputs, mean agreement and share:")
    shares = (found.flops / found.whole[:, None]).mean(0).tolist()
    for name, agreement, share in zip(SCHEDULES, found.agreement.mean(0).tolist(), shares, strict=True):
        print(f"  {name:22} {agreement:.3f} {share:.3f}")
    asked = _drawn(options.sprites, "test", sizes.asked)
    full = answers(subject, Flows(("full",)), asked).right
    tried, rows = _drawn(options.sprites, "validation", sizes.tried), []
    for budget in options.budgets:
        folder = options.routers / f"{budget:g}"
        folder.mkdir(parents=True, exist_ok=True)
        train_router(found, FlowTraining(budget)).save(folder)
        flows = answers(subject, Flows(weights=str(folder)), asked)
        # what the router spends there beyond its budget is the fixed schedule's too
        spent = max(budget, _mean([share for own in flows.shares.values() for share in own]))
        schedule = best_fixed(subject, spent, tried)
        rows += compared(budget, full, answers(subject, Flows((schedule,)), asked), flows)
        print(f"{time.monotonic() - started:.0f} s", *rows[-len(KINDS) - 1 :], sep="\n", flush=True)
    if not options.no_record:
        print(record("lvlm_flows_small" if options.small else "lvlm_flows", rows))


def answers(subject: Subject, method: Flows, asked: Asked) -> Answers:
    """Ask every question under `method`."""
    found = Answers({}, {}, {})
    costs, routing = layer_costs(subject), method.routing_flops()
    for kind, own in asked.items():
        each = [generated(subject, method, [picture]) for picture in own]
        found.right[kind] = [own for right, _ in each for own in right]
        found.shares[kind] = [share for _, report in each for share in prompt_shares(report, costs, routing)]
        found.schedules[kind] = [name for _, report in each for name in report.prefills[0].schedules]
    return found


def prompt_shares(report: Report, costs: Sequence[LayerCost], routing: int) -> list[float]:
    """What each prompt of one pass cost by itself, without padding, of what it costs with all tokens."""
    prefill = report.prefills[0]
    found = []
    for row, n in enumerate(prefill.tokens_before):
        spent = sum(cost.flops(layer[row]) for cost, layer in zip(costs, prefill.layers, strict=True))
        found.append((spent + routing) / sum(cost.flops(n) for cost in costs))
    return found


def best_fixed(subject: Subject, budget: float, held: Asked) -> str:
    """The schedule within the budget that answers most of the questions about pictures that are held out."""
    costs = layer_costs(subject)
    known = [text for way in FIXED if (text := within(way, budget, costs)) is not None]
    right = {}
    for text in known:
        marks = answers(subject, Flows((text,)), held).right
        right[text] = _mean([one for own in marks.values() for picture in own for one in picture])
        print(f"  {text:40} {right[text]:.3f} of the validation questions", flush=True)
    return max(known, key=right.__getitem__)


def within(way: Callable[[float], str], budget: float, costs: Sequence[LayerCost]) -> str | None:
    """The schedule of a kind that leaves most tokens within the budget; None where even one is too much."""
    whole = Flow().flops(costs, [N_TOKENS], N_TEXT)
    for n in range(N_TOKENS, 0, -1):
        text = way(n / N_TOKENS)
        if n == N_TOKENS and "skip" not in text:
            continue
        if Flow.parse(text).flops(costs, [N_TOKENS], N_TEXT) <= budget * whole:
            return text
    return None


def compared(budget: float, full: dict[str, Marks], fixed: Answers, flows: Answers) -> list[Row]:
    """A row for each kind of picture, and one for all of them."""
    rows = []
    for kinds in ([*full], *([kind] for kind in full)):
        marks = [[picture for kind in kinds for picture in own[kind]] for own in (full, fixed.right, flows.right)]
        accuracy = [_mean([one for picture in own for one in picture]) for own in marks]
        low, high = difference_interval(marks[2], marks[1])
        names = Counter(name for kind in kinds for name in flows.schedules[kind])
        total = sum(names.values())
        chosen = ", ".join(f"{name} {n / total:.0%}" for name, n in names.most_common())
        spent = [_mean([share for kind in kinds for share in own.shares[kind]]) for own in (fixed, flows)]
        rows.append(
            Row(
                budget=budget,
                pictures=kinds[0] if len(kinds) == 1 else "all",
                asked=sum(map(len, marks[0])),
                full=accuracy[0],
                fixed=accuracy[1],
                flows=accuracy[2],
                difference=accuracy[2] - accuracy[1],
                low=low,
                high=high,
                verdict=verdict(low, high),
                fixed_share=spent[0],
                flows_share=spent[1],
                schedule=fixed.schedules[kinds[0]][0],
                chosen=chosen,
            )
        )
    return rows


def _drawn(sprites: Path, split: str, n: int) -> Asked:
    loaded = Sprites.load(sprites / split)
    return {kind: pictures(kind, split, n, loaded) for kind in KINDS}


def _batches(subject: Subject, held: Asked) -> Iterator[Inputs]:
    """All questions about a picture together; what is right is left behind here."""
    for own in held.values():
        for picture in own:
            (seen,) = subject.seen([picture])
            yield prompts([picture], seen.hidden[None])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=HERE / "model", help="what was trained")
    parser.add_argument("--tower", type=Path, help="a DINOv2, by default that of the demo")
    parser.add_argument("--whole", type=Path, default=Path(".models/lvlm"), help="both together, made on first use")
    parser.add_argument("--sprites", type=Path, default=HERE / "pictures", help="with a folder for each split")
    parser.add_argument("--routers", type=Path, default=Path(".models/lvlm_flows"), help="where the routers are put")
    parser.add_argument("--budgets", type=float, nargs="+", default=(0.6, 0.45), help="of the decoder's FLOPs")
    parser.add_argument("--small", action="store_true", help="few questions")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-record", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
