"""Selection against brute force: exact counts, ties to the lower index, segments in any order."""

import pytest
import torch

from prunekernels import select


def test_by_hand() -> None:
    scores = torch.tensor([1.0, 3.0, 3.0, 2.0, 3.0])
    assert select.top(scores, 2).tolist() == [1, 2]
    assert select.bottom(scores, 2).tolist() == [0, 3]
    assert select.middle(torch.tensor([5.0, 1, 2, 3, 4]), 3).tolist() == [2, 3, 4]
    assert select.middle(torch.tensor([4.0, 3, 2, 1]), 1).tolist() == [2]
    assert select.threshold(scores, minimum=2, maximum=2.5).tolist() == [3]
    assert select.threshold(scores, minimum=3).tolist() == [1, 2, 4]


@pytest.mark.parametrize("seed", range(10))
def test_segments_agree_with_one_at_a_time(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 4, (40,), generator=generator)
    scores = torch.randint(0, 5, (40,), generator=generator).float()
    counts = [min(k + 1, int((ids == k).sum())) for k in range(4)]
    for choose in (select.top, select.bottom, select.middle):
        places = [(ids == k).nonzero().flatten() for k in range(4)]
        alone = [place[choose(scores[place], count)] for place, count in zip(places, counts, strict=True)]
        assert choose(scores, counts, ids).tolist() == sorted(torch.cat(alone).tolist())


def test_top_agrees_with_a_sort_by_score_then_index() -> None:
    scores = torch.randint(0, 7, (200,), generator=torch.Generator().manual_seed(1)).double()
    order = sorted(range(200), key=lambda index: (-float(scores[index]), index))
    for n in (0, 1, 17, 199, 200):
        assert select.top(scores, n).tolist() == sorted(order[:n])


def test_infinite_scores_are_ranked() -> None:
    scores = torch.tensor([-torch.inf, 0, torch.inf, -torch.inf])
    assert select.top(scores, 3).tolist() == [0, 1, 2]


def test_sample_is_seeded_and_in_proportion() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 0.0])
    drawn = torch.stack([select.sample(weights, 1, seed) for seed in range(3000)]).flatten().bincount(minlength=4)
    expected = 3000 * weights / 6
    # five standard deviations of a binomial
    assert ((drawn - expected).abs() <= 5 * (expected * (1 - weights / 6)).sqrt()).all()
    assert select.sample(weights, 4, 0).tolist() == [0, 1, 2, 3]
    assert torch.equal(select.sample(weights, 2, 5), select.sample(weights.clone(), 2, 5))


def test_sample_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    select.sample(torch.ones(5), 2, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_empty_and_strided_input() -> None:
    assert select.top(torch.empty(0), 0).tolist() == []
    assert select.top(torch.arange(10.0)[::2], 2).tolist() == [3, 4]
    assert select.top(torch.ones(3), [0, 1], torch.tensor([1, 1, 1])).tolist() == [0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select.top(torch.ones(3), 4), r"in \[0, 3\], got 4"),
        (lambda: select.top(torch.ones(3), [1, 2], torch.tensor([0, 1, 1, 1])), "segments"),
        (lambda: select.top(torch.ones(3), [1, 3], torch.tensor([0, 1, 1])), "in segment 1, got 3"),
        (lambda: select.top(torch.ones(3), [1], torch.tensor([0, 1, 1])), "segment_ids"),
        (lambda: select.top(torch.ones(2, 2), 1), "scores"),
        (lambda: select.bottom(torch.tensor([0, torch.nan]), 1), "score 1 is NaN"),
        (lambda: select.threshold(torch.ones(2), 2, 1), "minimum <= maximum"),
        (lambda: select.sample(torch.tensor([1.0, -1]), 1, 0), "at least 0"),
    ],
)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_scores_of_a_graph_are_numbers(device: torch.device) -> None:
    scores = torch.tensor([3.0, 1.0, 2.0, 2.0], device=device, requires_grad=True)
    assert select.top(scores * 1, 2).tolist() == [0, 2]
    assert select.bottom(scores * 1, 2).tolist() == [1, 2]
    assert select.middle(scores * 1, 2).tolist() == [2, 3]
    assert select.top(scores * 1, [1, 1], torch.tensor([0, 0, 1, 1], device=device)).tolist() == [0, 2]
