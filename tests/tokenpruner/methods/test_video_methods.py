"""Methods that share a budget out over the frames of a video: by hand, against slow loops, and in models."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.adapters.test_family_video import encode
from tokenpruner import Context, Method, prune
from tokenpruner.methods.evs import EVS
from tokenpruner.methods.fastvid import FastVID
from tokenpruner.methods.holitom import HoliTom
from tokenpruner.methods.vidcom2 import VidCom2


def frames_of(*visual):
    video = tuple(torch.as_tensor(own, dtype=torch.float32) for own in visual)
    return [Context(own, frame=number, video=video) for number, own in enumerate(video)]


def test_evs_by_hand():
    # one cell turns round in the second frame, another a little in the third
    one, two, three = [[1, 0], [0, 1], [1, 1]], [[1, 0], [0, -1], [1, 1]], [[1, 0.5], [0, -1], [1, 1]]
    frames = frames_of(one, two, three)
    assert EVS().importance(frames[1]).tolist() == pytest.approx([0, 2, 0], abs=1e-6)
    assert [*EVS().share(frames, [2, 2, 1])] == [3, 1, 1]
    assert EVS().select(frames[1], 1).tolist() == [1]
    assert EVS().select(frames[2], 1).tolist() == [0]
    # a budget below the first frame is the first frame's
    assert [*EVS().share(frames, [1, 1, 0])] == [2, 0, 0]


def test_evs_is_the_sorted_list_of_all_differences():
    generator = torch.Generator().manual_seed(1)
    frames = frames_of(*torch.randn(5, 12, 6, generator=generator))
    scores = []
    for number, frame in enumerate(frames):
        for cell in range(12):
            before = frames[number - 1].visual[cell].double() if number else None
            own = frame.visual[cell].double()
            like = 1 - float(own @ before / own.norm() / before.norm()) if number else 255.0
            scores.append((-like, number, cell))
    kept = sorted(scores)[:26]
    counts = [*EVS().share(frames, [6, 5, 5, 5, 5])]
    assert counts == [sum(number == own for _, own, _ in kept) for number in range(5)]
    for number, frame in enumerate(frames):
        wanted = sorted(cell for _, own, cell in kept if own == number)
        assert EVS().select(frame, counts[number]).tolist() == wanted


def test_evs_takes_a_last_frame_with_a_newline():
    frames = frames_of([[1.0, 0], [0, 1]], [[1.0, 0], [0, 1], [5, 5]])
    assert EVS().importance(frames[1]).tolist() == pytest.approx([0, 0, 2], abs=1e-6)


def test_vidcom2_against_its_formula():
    generator = torch.Generator().manual_seed(2)
    visual = torch.randn(4, 10, 6, generator=generator) + torch.tensor([2.0, 0, 0, 0, 0, 0])
    frames = frames_of(*visual)
    unit = torch.nn.functional.normalize(visual.double(), dim=-1)

    def near(tokens, centre):
        centre = centre / centre.norm()
        squares = ((tokens - centre) ** 2).sum(-1)
        return sum((-squares / (2 * 2.0**power)).exp() for power in range(-3, 2))

    video = -near(unit, unit.reshape(-1, 6).mean(0))
    shares = 1 + (video.mean(1) / 0.05).softmax(0) - 0.25
    wanted = shares / shares.sum() * 14
    counts = [*VidCom2(temperature=0.05).share(frames, [4, 4, 3, 3])]
    assert sum(counts) == 14
    weighted = shares * torch.tensor([4, 4, 3, 3])
    assert all(abs(n - float(want)) < 1 for n, want in zip(counts, weighted / weighted.sum() * 14, strict=True))
    assert wanted.argmax() == max(range(4), key=counts.__getitem__)
    for number, frame in enumerate(frames):
        score = video[number] - near(unit[number], unit[number].mean(0))
        best = sorted(sorted(range(10), key=lambda own: -float(score[own]))[:3])
        assert VidCom2().select(frame, 3).tolist() == best


newest = pytest.param("llava_onevision", marks=pytest.mark.newest)


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", newest])
@pytest.mark.parametrize(
    "method",
    [EVS(keep_ratio=0.25), VidCom2(keep_ratio=0.25), EVS(n_keep_row=11), FastVID(keep_ratio=0.3), HoliTom(n_keep=3)],
)
def test_counts_hold_over_the_frames_of_a_model(name, method):
    feed = fed(name)
    inputs = encode(feed, [[2, "V", 3], [4], ["I", 2, "V", 1]])
    with torch.no_grad(), prune(feed.model, method) as report:
        feed.model(**inputs)
    wanted = {}
    for row in (0, 2):
        own = [image for image in report.images if image.row == row]
        counts = method.counts([image.size for image in own], row)
        for image, n in zip(own, counts, strict=True):
            wanted[row, image.image] = wanted.get((row, image.image), 0) + n
    found = {}
    for image in report.images:
        found[image.row, image.image] = found.get((image.row, image.image), 0) + len(image.kept)
    assert found == wanted
    if isinstance(method, EVS) and method.n_keep_row is None:
        # of random pixels no token is like the one before, but the first frame goes before all others
        video = [len(image.kept) for image in report.images if image.row == 0]
        assert video[0] > video[1]


class Greedy(Method):
    """Takes one token more than there are to share out."""

    def share(self, frames, counts):
        return [n + 1 for n in counts]

    def keep(self, context, n):
        return torch.arange(n)


def test_shares_that_are_not_the_budget_are_refused():
    feed = fed("qwen2_vl")
    inputs = encode(feed, [[2, "V", 3]])
    with prune(feed.model, Greedy()), pytest.raises(ValueError, match=r"Greedy: want 16 tokens shared out over frames"):
        feed.model(**inputs)


def test_wrong_fields_are_refused():
    with pytest.raises(ValueError, match="want"):
        VidCom2(temperature=0)
