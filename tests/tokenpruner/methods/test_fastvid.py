"""FastVID against its formula in plain loops, and without the defects of the published code."""

from __future__ import annotations

import math

import pytest
import torch

from tokenpruner import Context
from tokenpruner.before_decoder.selection import Sequences, select_tokens
from tokenpruner.methods._density_peaks import peak_scores
from tokenpruner.methods.fastvid import FastVID
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.tower_reading import TowerReading


def frames_of(n_frames, size, scenes=2, seed=0, width=6, last=0):
    """Frames of as many scenes, the last one with `last` tokens more."""
    generator = torch.Generator().manual_seed(seed)
    centres = 4 * torch.randn(scenes, 1, width, generator=generator)
    video = [
        centres[t * scenes // n_frames]
        + torch.randn(size + (last if t == n_frames - 1 else 0), width, generator=generator)
        for t in range(n_frames)
    ]
    readings = [TowerReading(torch.rand(len(own), generator=generator)) for own in video]
    pairs = enumerate(zip(video, readings, strict=True))
    return [Context(own, frame=t, video=tuple(video), tower=reading) for t, (own, reading) in pairs]


def density(tokens, k):
    """Density times the distance to what is denser, in float64 loops."""
    size, width = tokens.shape
    far = [
        [float((tokens[i] - tokens[j]).double().norm()) / math.sqrt(width) for j in range(size)] for i in range(size)
    ]
    thick = [math.exp(-sum(d * d for d in sorted(row)[:k]) / min(k, size)) for row in far]
    most = max(max(row) for row in far)
    scores = []
    for i in range(size):
        denser = [far[i][j] for j in range(size) if (thick[j], -j) > (thick[i], -i)]
        scores.append(thick[i] * min([most, *denser]))
    return scores


@pytest.mark.parametrize("k", [1, 4, 30])
def test_density_is_the_formula(k):
    tokens = torch.randn(20, 5, generator=torch.Generator().manual_seed(k))
    assert peak_scores(tokens, k).tolist() == pytest.approx(density(tokens, k), rel=1e-4)


def literal(frames, n, method):
    """Picks of each frame where every frame has a budget of `n`, and the segments."""
    means = [frame.visual.double().mean(0) for frame in frames]
    like = [float(a @ b / a.norm() / b.norm()) for a, b in zip(means, means[1:], strict=False)]
    lowest = sorted(range(len(like)), key=lambda t: (like[t], t))[: method.segments - 1]
    cuts = sorted({*lowest, *(t for t in range(len(like)) if like[t] < method.similarity), len(frames) - 1})
    segments, start = [], 0
    for cut in cuts:
        segments.append(range(start, cut + 1))
        start = cut + 1
    n_salient, picks = n - int(n * method.contextual), {}
    for own in segments:
        homes = [t for t in own if (own[-1] - t) % method.step == 0]
        each, rest = divmod((n - n_salient) * len(own), len(homes))
        for t in own:
            attention = frames[t].tower.class_attention.tolist()
            order = sorted(range(frames[t].size), key=lambda i: (-attention[i], i))
            salient, others = order[:n_salient], sorted(order[n_salient:])
            n_anchors = each + (homes.index(t) < rest) if t in homes else 0
            score = density(frames[t].visual[others], method.neighbours)
            middles = sorted(range(len(others)), key=lambda i: (-score[i], i))[:n_anchors]
            picks[t] = sorted(salient), sorted(others[i] for i in middles)
    return segments, picks


@pytest.mark.parametrize(("n_frames", "n", "fields"), [
    (9, 5, {"segments": 2}),
    (10, 3, {"segments": 2, "step": 3, "contextual": 0.7}),
    (5, 4, {}),
    (1, 6, {}),
    (7, 5, {"segments": 1, "similarity": -1.0}),
])  # fmt: skip
def test_picks_are_salient_tokens_and_middles(n_frames, n, fields):
    frames, method = frames_of(n_frames, 24, seed=n_frames), FastVID(n_keep=n, **fields)
    segments, wanted = literal(frames, n, method)
    found = method.select_frames(frames, [n] * n_frames) if n_frames > 1 else method.choose(frames, [n])
    assert [own.tolist() for own in found.picks] == [sorted(sum(wanted[t], [])) for t in range(n_frames)]
    assert sum(map(len, found.picks)) == n * n_frames
    assert len(segments) > 1 or n_frames in (1, 7)


def test_what_is_not_salient_goes_into_the_nearest_anchor_of_its_segment():
    """An anchor becomes beta of itself and 1 - beta of the mean of all that went into it, itself among them."""
    n_frames, size, n = 6, 12, 4
    frames, method = frames_of(n_frames, size, seed=4), FastVID(n_keep=n, segments=2, anchor_weight=0.6)
    segments, picks = literal(frames, n, method)
    assert [len(own) for own in segments] == [3, 3]
    embeds = torch.cat([frame.visual for frame in frames])[None]
    columns = torch.arange(n_frames * size).split(size)
    images = [ImageTokens(0, 0, own, t, reading=frames[t].tower, read_columns=own) for t, own in enumerate(columns)]
    rows = Sequences(embeds, torch.ones(1, n_frames * size, dtype=torch.bool))
    merged = select_tokens(rows, images, method, lambda size: None).with_merged(embeds)[0]
    for own in segments:
        anchors = [(t, i) for t in own for i in picks[t][1]]
        others = [(t, i) for t in own for i in range(size) if i not in picks[t][0]]
        members = {anchor: [anchor] for anchor in anchors}
        for t, i in others:
            if (t, i) not in anchors:
                token = frames[t].visual[i].double()
                like = [torch.cosine_similarity(token, frames[a].visual[j].double(), 0) for a, j in anchors]
                members[anchors[max(range(len(anchors)), key=like.__getitem__)]].append((t, i))
        for (t, i), inside in members.items():
            mean = torch.stack([frames[a].visual[j] for a, j in inside]).mean(0)
            torch.testing.assert_close(merged[t * size + i], 0.6 * frames[t].visual[i] + 0.4 * mean)
        for t in own:
            for i in picks[t][0]:
                assert torch.equal(merged[t * size + i], frames[t].visual[i])


@pytest.mark.parametrize("total", [1, 2, 17, 40, 71, 95])
def test_the_count_holds_whatever_does_not_divide(total):
    """Published: what anchor frames cannot share equally is lost, and a budget they have no room for crashes."""
    frames = frames_of(6, 16, last=1)
    counts = [total // 6 + (t < total % 6) for t in range(6)]
    counts[-1] += counts[0] - min(counts[0], 16)
    for fields in ({}, {"segments": 1, "similarity": -1.0}, {"contextual": 1.0}, {"contextual": 0.0}):
        found = FastVID(**fields).select_frames(frames, counts)
        assert sum(map(len, found.picks)) == total
        found.merge.check("fastvid", torch.cat([p + 16 * t for t, p in enumerate(found.picks)]), 97)


@pytest.mark.parametrize("wrong", [{"segments": 0}, {"step": 0}, {"contextual": 1.1}, {"anchor_weight": 1.0}])
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(ValueError, match="fastvid wants"):
        FastVID(**wrong)
