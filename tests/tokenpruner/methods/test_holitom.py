"""HoliTom against its formula in plain loops and against every way to cut a video, and without published defects."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from tests.tokenpruner.methods.test_fastvid import density, frames_of
from tokenpruner import Context
from tokenpruner.methods.holitom import HoliTom, windows
from tokenpruner.models.tower_reading import TowerReading


def every_cut(n_frames):
    """All ways to cut frames into windows."""
    for ends in product([False, True], repeat=n_frames - 1):
        found, start = [], 0
        for t, is_end in enumerate([*ends, True]):
            if is_end:
                found.append((start, t))
                start = t + 1
        yield found


def saved(still, cut):
    return sum((last - start) * int(still[start:last].all(0).sum()) for start, last in cut if last > start)


@pytest.mark.parametrize("n_frames", [1, 2, 5, 8])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_windows_save_as_much_as_any(n_frames, share):
    generator = torch.Generator().manual_seed(n_frames)
    for _ in range(5):
        still = torch.rand(n_frames - 1, 7, generator=generator) < share
        found = windows(still, 1024)
        assert found in list(every_cut(n_frames))
        assert saved(still, found) == max(saved(still, cut) for cut in every_cut(n_frames))
        short = windows(still, 3)
        assert all(last - start < 3 for start, last in short)
        allowed = [cut for cut in every_cut(n_frames) if all(last - start < 3 for start, last in cut)]
        assert saved(still, short) == max(saved(still, cut) for cut in allowed)


def test_windows_by_hand():
    # two places: one still in all four frames, one that moves between the second and the third
    still = torch.tensor([[True, True], [True, False], [True, True]])
    # 2 + 2 in two windows of two frames, 3 in one of four: cut in the middle
    assert windows(still, 1024) == [(0, 1), (2, 3)]
    # nothing is still: each frame by itself
    assert windows(torch.zeros(2, 3, dtype=torch.bool), 1024) == [(0, 0), (1, 1), (2, 2)]


def scene(n_frames=4, size=12, n_still=8, seed=0):
    """A scene in which the first places stand still and the others are new in each frame."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(n_still, 6, generator=generator)
    video = []
    for _ in range(n_frames):
        moving = torch.randn(size - n_still, 6, generator=generator)
        video.append(torch.cat([base + 0.01 * torch.randn(n_still, 6, generator=generator), 50 * moving]))
    readings = [TowerReading(torch.rand(size, generator=generator)) for _ in video]
    pairs = enumerate(zip(video, readings, strict=True))
    return [Context(own, frame=t, video=tuple(video), tower=reading) for t, (own, reading) in pairs]


def test_still_places_become_one_token_and_others_go_by_attention():
    frames = scene()
    # of 8 still places and 4 x 4 other tokens, 24 parts, half stay: 4 and 2 a frame
    found = HoliTom().select_frames(frames, [3, 3, 3, 3])
    means = torch.stack([frame.visual[:8] for frame in frames]).mean(0)
    score = density(means, 4)
    middles = sorted(sorted(range(8), key=lambda i: (-score[i], i))[:4])
    for t, frame in enumerate(frames):
        attention = frame.tower.class_attention.tolist()
        moving = sorted(sorted(range(8, 12), key=lambda i: -attention[i])[:2])
        assert found.picks[t].tolist() == ((middles if t == 0 else []) + moving)
    # every frame's token of a still place goes into a middle, other tokens into none but themselves
    target = found.merge.target.view(4, 12)
    assert bool((target[:, :8] >= 0).all())
    assert torch.equal(target[:, :8], target[:1, :8].expand(4, 8))
    gone = torch.stack([~torch.isin(torch.arange(8, 12), picks) for picks in found.picks])
    assert torch.equal(target[:, 8:] < 0, gone)


def test_middles_weigh_as_the_formula_has_it():
    """c = .6 of the middle's mean over frames + .4 of the mean of the other places' means."""
    frames = scene()
    found = HoliTom().select_frames(frames, [3, 3, 3, 3])
    means = torch.stack([frame.visual[:8] for frame in frames]).mean(0)
    tokens = torch.cat([frame.visual for frame in frames])
    target, weight = found.merge.target, found.merge.weight
    for number, middle in enumerate(found.picks[0][found.picks[0] < 8].tolist()):
        inside = target == number
        merged = (tokens[inside] * weight[inside, None]).sum(0) / weight[inside].sum()
        others = [p for p in range(8) if p != middle and int(target[p]) == number]
        wanted = 0.6 * means[middle] + 0.4 * means[others].mean(0) if others else means[middle]
        torch.testing.assert_close(merged, wanted)
        for p in others:
            far = (means[p] - means[found.picks[0][:4]]).norm(dim=1)
            assert int(far.argmin()) == number


def test_contextual_tokens_are_middles_of_what_is_not_attended():
    frame = frames_of(1, 20)[0]
    method = HoliTom(n_keep=6, contextual=0.5)
    attention = frame.tower.class_attention.tolist()
    order = sorted(range(20), key=lambda i: -attention[i])
    others = sorted(order[3:])
    score = density(frame.visual[others], 3)
    middles = [others[i] for i in sorted(range(17), key=lambda i: -score[i])[:3]]
    picks = method.select(frame)
    assert picks.tolist() == sorted(order[:3] + middles)
    target = method.merge(frame, picks).target
    assert bool((target >= 0).all())
    # nothing goes into an attended token but itself
    assert all(int((target == picks.tolist().index(own)).sum()) == 1 for own in order[:3])


@pytest.mark.parametrize("total", [1, 2, 5, 13, 23, 30, 47])
def test_the_count_holds(total):
    """Published: every part is rounded by itself, and no more stay than still places and others are."""
    frames = scene()
    counts = [total // 4 + (t < total % 4) for t in range(4)]
    for given in (frames_of(4, 12, last=1), frames):
        for method in (HoliTom(), HoliTom(contextual=0.4)):
            found = method.select_frames(given, counts)
            assert sum(map(len, found.picks)) == total
            if found.merge is not None:
                sizes = [frame.size for frame in given]
                firsts = [sum(sizes[:t]) for t in range(4)]
                picks = torch.cat([own + first for own, first in zip(found.picks, firsts, strict=True)])
                found.merge.check("holitom", picks, sum(sizes))


@pytest.mark.parametrize("wrong", [{"neighbours": 0}, {"longest": 0}, {"contextual": -0.1}, {"centre_weight": 1.0}])
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(ValueError, match="holitom wants"):
        HoliTom(**wrong)
