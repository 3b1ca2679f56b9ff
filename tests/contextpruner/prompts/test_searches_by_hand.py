"""Searches worked by hand on tasks whose best prompt is known."""

from __future__ import annotations

import numpy as np
import pytest

from contextpruner.prompts.run import Run
from contextpruner.prompts.search import Found, Search, build_search, find_prompt
from contextpruner.prompts.searches.claps import Claps
from contextpruner.prompts.searches.coarse_to_fine import CoarseToFine
from contextpruner.prompts.searches.greedy import Greedy
from contextpruner.prompts.searches.lead import Lead
from contextpruner.prompts.searches.promptquine import Promptquine
from contextpruner.prompts.searches.random import Random
from tests.contextpruner.prompts.toy_task import ToyTask, copies, noisy


def found(search: Search, task: ToyTask, tokens: int, evaluations: int = 10_000, seed: int = 0) -> tuple[str, Found]:
    one = find_prompt(search, Run(task, tokens, evaluations, seed))
    return task.kept(one.candidate.kept), one


def test_greedy_drops_what_hurts_least_round_by_round() -> None:
    task = ToyTask("a b c d", copies, 2)
    kept, one = found(Greedy(), task, 2)
    # a first, of two that hurt nothing; then d: b has become needed
    assert kept == "b c"
    assert dict(one.candidate.reasons) == {
        0: "its loss hurt least in round 1",
        3: "its loss hurt least in round 2",
    }
    assert (one.score, one.tokens, one.evaluations) == (-1, 2, (4 + 3) * 2)
    assert [asked for asked, _ in task.asked] == ["b c d", "a c d", "a b d", "a b c", "c d", "b d", "b c"]
    assert one.front == {2: -1, 3: 0}


def test_greedy_with_two_at_once_goes_by_one_round() -> None:
    # both copies hurt nothing one at a time
    kept, one = found(Greedy(at_once=2), ToyTask("a b c d", copies, 2), 2)
    assert kept == "c d"
    assert one.score == -10
    # it drops no more than it takes
    assert found(Greedy(at_once=3), ToyTask("a b c d", copies, 2), 3)[0] == "b c d"


def test_where_evaluations_run_out_the_last_full_round_decides() -> None:
    # four prompts of the first round are 8 evaluations, 5 more are two prompts of the second, of which one is better
    kept, one = found(Greedy(), ToyTask("a b c d", copies, 2), 2, 13)
    assert (kept, one.evaluations, one.score) == ("b d", 12, -3)
    # one round and nothing that fits: by that round the other copy goes, too
    kept, one = found(Greedy(), ToyTask("a b c d", copies, 2), 2, 9)
    assert (kept, one.evaluations, one.score) == ("c d", 8, None)
    # nothing known of any: the last pieces go
    kept, one = found(Greedy(), ToyTask("a b c d", copies, 2), 2, 1)
    assert (kept, one.evaluations, one.score) == ("a b", 0, None)
    assert {*one.candidate.reasons.values()} == {"no evaluations were left; of the rest it was worth least"}


def test_lead_is_the_beginning_and_asks_nothing() -> None:
    kept, one = found(Lead(), ToyTask("a bb c ddd e", copies, 2), 4)
    assert (kept, one.tokens, one.evaluations) == ("a bb c", 4, 0)
    assert {*one.candidate.reasons.values()} == {"behind what fits"}


def test_random_keeps_the_best_of_its_draws() -> None:
    task = ToyTask("a b c d", copies, 2)
    kept, one = found(Random(draws=64), task, 2)
    assert kept in ("a c", "b c")
    assert one.score == -1
    lucky, first = found(Random(draws=1), task, 2, seed=3)
    assert first.evaluations == 2
    assert first.score == -copies({*lucky.split()})[0]


def test_claps_by_hand() -> None:
    task = ToyTask("a b c d", copies, 2)
    # clusters: the copies together, as their embeddings are near
    task.vectors = np.array([[1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    kept, one = found(Claps(clusters=3, patience=4), task, 2)
    # all of it, then without each cluster
    assert {asked for asked, _ in task.asked[:4]} == {"a b c d", "c d", "a b d", "a b c"}
    # 5 for each copy, 3 for c, 1 for d; the first two are as long as one and a half budgets
    assert one.candidate.reasons[3] == "little influence"
    assert kept == "a b"
    assert all("d" not in asked for asked, _ in task.asked[4:])


def test_claps_with_a_cluster_for_each_piece_climbs_to_the_best() -> None:
    task = ToyTask("a b c d", copies, 2)
    kept, one = found(Claps(clusters=4), task, 2)
    # one by one neither copy has influence, and the climb finds that one is needed
    assert kept == "a c"
    assert one.score == -1


def test_promptquine_finds_the_words_that_help_among_noise() -> None:
    task = ToyTask("o w p q x r s y t z u v", noisy, 4)
    kept, one = found(Promptquine(min_tokens=0, patience=20), task, 6)
    assert kept == "w x y z"
    assert one.score == 0
    assert all(reason.startswith("dropped in generation ") for reason in one.candidate.reasons.values())


def test_promptquine_judges_by_few_rows_and_reranks_on_all() -> None:
    def losses(kept: set[str]) -> list[float]:
        # b helps on the first row alone, c on all others
        return [1.0 * ("b" not in kept)] + [2.0 * ("c" not in kept)] * 3

    task = ToyTask("a b c", losses, 4)
    kept, one = found(Promptquine(few=1, min_tokens=1, rerank=1.0, patience=3), task, 1)
    assert kept == "c"
    assert {len(rows) for _, rows in task.asked} == {1, 3}
    # the few decide where only one is re-ranked
    kept, _ = found(Promptquine(few=1, min_tokens=1, rerank=0.01, patience=3), ToyTask("a b c", losses, 4), 1)
    assert kept == "b"


def test_promptquine_leaves_enough_and_puts_evaluations_by() -> None:
    for most in range(40):
        task = ToyTask("o w p q x r s y t z u v", noisy, 4)
        _, one = found(Promptquine(population=4, offspring=4, few=2, min_tokens=5, rerank=0.5), task, 8, most)
        assert one.evaluations <= most
        assert all(len(asked.split()) >= 5 for asked, _ in task.asked)
        # what fits and was judged was re-ranked
        fitting = [asked for asked, _ in task.asked if len(asked.split()) <= 8]
        assert (one.score is not None) is bool(fitting)


def test_coarse_to_fine_drops_useless_shots_first() -> None:
    words = "i j k l m n o p q r s t"

    def losses(kept: set[str]) -> list[float]:
        # the second and the fourth shot are what helps
        return [0.2 * len({*"lmnrst"} - kept)]

    part = [shot for shot in range(4) for _ in range(3)]
    task = ToyTask(words, losses, part=part)
    kept, one = found(CoarseToFine(coarse=1.0, steps=30), task, 6)
    assert kept == "l m n r s t"
    assert {one.candidate.reasons[piece] for piece in range(3)} == {"its shot was dropped by the policy"}
    # a budget of half of that: tokens of what is left
    kept, one = found(CoarseToFine(coarse=2.0, steps=10), task, 3)
    assert len(kept.split()) == 3
    assert {*kept.split()} <= {*"lmnrst"}
    # without shots it is the fine stage alone
    kept, _ = found(CoarseToFine(coarse=2.0, steps=40), ToyTask(words, losses), 6)
    assert len({*kept.split()} & {*"lmnrst"}) >= 5


def test_what_fits_is_left_alone_and_what_never_can_is_refused() -> None:
    task = ToyTask("a b c d", copies, 2, protected="b d")
    for search in (Greedy(), Lead(), Promptquine()):
        kept, one = found(search, task, 4)
        assert (kept, one.evaluations) == ("a b c d", 0)
        assert found(search, task, 2)[0] == "b d"
        with pytest.raises(ValueError, match="the 2 tokens that are never dropped, got 1"):
            found(search, task, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("greedy:at_once=0", "at_once of at least 1"),
        ("random:draws=0", "at least 1 draw"),
        ("claps:space=0.5", "space"),
        ("promptquine:rerank=0", "rerank"),
        ("coarse_to_fine:samples=1", "2 samples"),
        ("beam", "has no 'beam'"),
    ],
)
def test_wrong_fields_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_search(text)


def test_llmlingua2_wants_its_checkpoint() -> None:
    with pytest.raises(ValueError, match="llmlingua2 wants the token classifier that it goes by: model=FOLDER"):
        found(build_search("llmlingua2"), ToyTask("a b c d", copies, 2), 2)
