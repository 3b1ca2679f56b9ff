"""Held-out accuracy against tokens for every search, beside the full prompt, no prompt, and random dropping.

    PYTHONPATH=.:kernels python -m benchmarks.prompts.searches --model FOLDER --data FOLDER --out FOLDER
    ... --small                          a few rows and one seed: minutes; nothing is recorded
    ... --sets snips gsm8k --seeds 2     a part of it; nothing is recorded
    ... --llmlingua2 FOLDER              with the token classifier of LLMLingua-2, too

The model runs in bfloat16 unless --precision says otherwise: half the time of float32 on a processor that has it.

FOLDER of --data has snips_slots, banking77, clinc150, gsm8k_train and gsm8k_test, each .jsonl.xz. A seed draws shots
and rows (`sets`) and seeds the searches. Every evaluation is kept in --out: what was stopped goes on. Scores are
accuracy, of GSM8K the mean log-likelihood of a token of the worked answer. Means and intervals (Student's t) are over
seeds; differences are of the same rows. Evaluations, a prompt on a row each, and seconds are those of one search.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import record
from benchmarks.prompts.sets import INTENTS, SETS, Sizes, prompt_set
from contextpruner.prompts.evaluations import Evaluations
from contextpruner.prompts.language_model.task import LanguageModelTask, PromptModel, load_prompt_model
from contextpruner.prompts.pieces import cut_prompt, token_ends
from contextpruner.prompts.report.result import TunedPrompt, TuneResult
from contextpruner.prompts.run import Run
from contextpruner.prompts.search import build_search, find_prompt
from contextpruner.prompts.settings import ModelSettings, TuneSettings
from contextpruner.prompts.tuning import Judge

SEARCHES = (
    "lead",
    "random:draws=64",
    "greedy:at_once=64",
    "claps",
    "promptquine:most_dropped=12",
    "coarse_to_fine",
)
BY_LOT = "random dropping, no choice"


@dataclass(frozen=True)
class Plan:
    """How much is run: rows, lengths, seeds, and evaluations of a search at one length."""

    sizes: Sizes
    keep_ratios: tuple[float, ...]
    max_evaluations: int
    seeds: int


SMALL = Plan(Sizes(3, 3, 2, 4), (0.5,), 16, 1)
# 160 prompts on 6 rows, so that greedy can leave out each of up to 156 pieces once
LABELLED = Plan(Sizes(4, 4, 6, 100), (0.5,), 960, 5)
# 200 prompts on 3 rows, of some 40 tokens of an answer each, for up to 187 pieces
FREE = Plan(Sizes(0, 2, 3, 50), (0.5,), 600, 5)


@dataclass(frozen=True)
class PromptRow:
    """One way on one set at one length, over all seeds; without an interval where there is one seed."""

    data: str
    search: str
    keep_ratio: float | None
    seeds: int
    tokens: float
    development: float | None
    held_out: float
    low: float | None
    high: float | None
    to_random: float | None
    random_low: float | None
    random_high: float | None
    verdict: str
    to_full: float | None
    full_low: float | None
    full_high: float | None
    evaluations: float | None
    seconds: float | None


def plan_of(name: str, is_small: bool) -> Plan:
    """How much is run of the set `name`."""
    return SMALL if is_small else LABELLED if name in INTENTS else FREE


def over_seeds(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The mean over seeds and its 95 % interval by Student's t; None where one seed says nothing of it."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None, None
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def verdict(low: float | None, high: float | None) -> str:
    """What the interval of the difference from random dropping says."""
    if low is None or high is None:
        return "one seed tells nothing"
    if low > 0:
        return "beats random dropping"
    return "worse than random dropping" if high < 0 else "does not beat random dropping"


def tuned(name: str, model: PromptModel, plan: Plan, seed: int, options: argparse.Namespace) -> TuneResult:
    """Every search at every length on what one seed has of a set."""
    own = prompt_set(name, options.data, plan.sizes, seed)
    pieces = cut_prompt(own.prompt, lambda text: token_ends(model.lm.tokenizer, text))
    development, held_out = (
        LanguageModelTask(model, own.prompt, pieces, rows, labels=own.labels)
        for rows in (own.development, own.held_out)
    )
    searches = [*SEARCHES, *([f"llmlingua2:model={json.dumps(str(options.llmlingua2))}"] if options.llmlingua2 else [])]
    settings = TuneSettings(
        work=str(options.out), model=ModelSettings(str(options.model)), development="", held_out="", labels=own.labels,
        searches=tuple(searches), keep_ratios=plan.keep_ratios, max_evaluations=plan.max_evaluations, seed=seed,
    )  # fmt: skip
    with Evaluations.kept_in(options.out / f"{name}_{seed}.jsonl") as remembered:
        judge = Judge(settings, development, held_out, remembered)
        found = []
        for tokens in settings.lengths(len(development.ids(judge.full.kept))):
            for text in searches:
                run = Run(development, tokens, plan.max_evaluations, seed, remembered)
                found.append(judge.tuned(text, tokens, find_prompt(build_search(text), run)))
                one = found[-1]
                print(f"{name}, seed {seed}, {text}, {one.tokens} tokens: {one.held_out.main.mean:.3f} held out, "
                      f"{one.development.main.mean:.3f} development, {one.verdict}; {one.evaluations:,} evaluations, "
                      f"{one.seconds:.1f} s", flush=True)  # fmt: skip
        return judge.result(found)


def rows_of_set(name: str, results: Sequence[TuneResult], keep_ratios: Sequence[float]) -> Iterator[PromptRow]:
    """The rows of one set, of which each seed has a result."""
    for place, shown in ((0, "full prompt"), (1, "no prompt")):
        bases = [result.baselines[place] for result in results]
        scores = over_seeds([base.held_out.main.mean for base in bases])
        tokens, development = (statistics.fmean(values) for values in (
            [base.tokens for base in bases], [base.development.main.mean for base in bases]))  # fmt: skip
        blank = (None, None, None)
        yield PromptRow(name, shown, None, len(bases), tokens, development, *scores, *blank, "", *blank, None, None)
    ways: dict[tuple[str, float], list[TunedPrompt]] = defaultdict(list)
    for result in results:
        n_searches = len(result.prompts) // len(keep_ratios)
        for number, one in enumerate(result.prompts):
            ways[one.search, keep_ratios[number // n_searches]].append(one)
    lead = next(iter(ways))[0]
    for (search, ratio), prompts in ways.items():
        if search == lead:
            # as long as the budget, like the baseline beside it
            yield _row(name, BY_LOT, ratio, prompts, is_lot=True)
        yield _row(name, search, ratio, prompts)


def _row(name: str, search: str, ratio: float, prompts: Sequence[TunedPrompt], is_lot: bool = False) -> PromptRow:
    held_out = over_seeds([(one.by_lot if is_lot else one.held_out).main.mean for one in prompts])
    development = statistics.fmean(one.development.main.mean for one in prompts)
    to_random = over_seeds([one.to_random.main.mean for one in prompts])
    to_full = over_seeds([one.to_full.main.mean for one in prompts])
    row = PromptRow(
        name, search, ratio, len(prompts), statistics.fmean(one.tokens for one in prompts), development, *held_out,
        *to_random, verdict(*to_random[1:]), *to_full, statistics.fmean(one.evaluations for one in prompts),
        statistics.fmean(one.seconds for one in prompts),
    )  # fmt: skip
    if not is_lot:
        return row
    # it is what others are compared with, and was never scored on development rows
    return replace(
        row, development=None, to_random=None, random_low=None, random_high=None, verdict="", to_full=None,
        full_low=None, full_high=None, evaluations=None, seconds=None,
    )  # fmt: skip


def main() -> None:
    """Every set and seed; append the record where all of it ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--llmlingua2", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--batch-size", type=int, default=32, help="rows that are read at a time")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = load_prompt_model(
        str(options.model), precision=options.precision, device=options.device, batch_size=options.batch_size
    )
    rows: list[PromptRow] = []
    for name in options.sets:
        plan = plan_of(name, options.small)
        results = [tuned(name, model, plan, seed, options) for seed in range(options.seeds or plan.seeds)]
        rows += rows_of_set(name, results, plan.keep_ratios)
    for row in rows:
        print(row)
    if not options.small and not options.seeds and len(options.sets) == len(SETS):
        print(record("prompts", rows))


if __name__ == "__main__":
    main()
