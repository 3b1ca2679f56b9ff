"""Frames, grids and newline tokens, read off features by hand."""

from __future__ import annotations

import pytest
import torch

from tokenpruner.models.image_layouts import Layout, LayoutMemory, layouts_of, with_last_newline
from tokenpruner.models.image_tokens import find, numbered

NEWLINE = torch.full((4,), 7.0)


def features(text):
    """One row a letter: "x" a patch, "|" a newline."""
    rows = torch.randn(len(text), 4, generator=torch.Generator().manual_seed(1))
    rows[[letter == "|" for letter in text]] = NEWLINE
    return rows


@pytest.mark.parametrize(
    ("text", "views", "newlines"),
    [
        # an overview of 2 x 2, then 3 lines of 2
        ("xxxxxx|xx|xx|", ((2, 2), (3, 2)), (6, 9, 12)),
        ("xxxx|", ((2, 2),), (4,)),
        ("xxx|xxx|", ((2, 3),), (3, 7)),
        # no square in front, lines of unequal length, lines without an end or without patches, text of one newline
        ("xxxxx|xx|", (), (5, 8)),
        ("xxxx|xx|xxx|", (), (4, 7, 11)),
        ("xxxx|xx|xx", (), (4, 7)),
        ("xxxx||", (), (4, 5)),
        ("xxx|", (), (3,)),
        ("xxxxxxxxx", ((3, 3),), ()),
        ("xxxxx", (), ()),
    ],
)
def test_lines_by_hand(text, views, newlines):
    assert layouts_of([features(text)], {}, NEWLINE) == [Layout(len(text), 1, views, newlines)]


def test_newlines_of_another_width_are_none():
    assert layouts_of([features("xx|x")], {}, torch.full((3,), 7.0)) == [Layout(4, 1, ((2, 2),))]
    assert layouts_of([features("xx|x")], {}) == [Layout(4, 1, ((2, 2),))]


def test_grids_by_hand():
    given = {"pixel_values": torch.zeros(9), "image_grid_thw": torch.tensor([[1, 4, 6], [1, 2, 2], [2, 4, 8]])}
    # 2 x 2 patches become one; 4 tokens of 2 x 2 patches were not merged; 3 frames would not fit 2 x 4 x 8
    assert layouts_of([torch.zeros(6, 4), torch.zeros(4, 4), torch.zeros(16, 4)], given) == [
        Layout(6, 1, ((2, 3),)),
        Layout(4, 1, ((2, 2),)),
        Layout(16, 2, ((2, 4),)),
    ]
    odd = {"video_grid_thw": torch.tensor([[2, 3, 6]])}
    assert layouts_of([torch.zeros(9, 4)], odd) == [Layout(9, 1, ((3, 3),))]
    assert layouts_of([torch.zeros(7, 4)], odd) == [Layout(7)]
    # two grids for one image mean something else
    assert layouts_of([torch.zeros(6, 4)], given) == [Layout(6)]


def test_videos_by_hand():
    clip, video = {"pixel_values_videos": torch.zeros(2, 3, 3, 8, 8)}, {"is_video": True}
    assert layouts_of(torch.zeros(2, 12, 4), clip, **video) == [Layout(12, 3, ((2, 2),))] * 2
    # each frame by itself, in two forms
    assert layouts_of(torch.zeros(6, 5, 4), clip, **video) == [Layout(15, 3)] * 2
    assert layouts_of((torch.zeros(3, 4, 4),) * 2, clip, **video) == [Layout(12, 3, ((2, 2),))] * 2
    assert layouts_of(torch.zeros(2, 13, 4), clip, **video) == [Layout(13)] * 2
    assert layouts_of([features("xxxx" * 3 + "|")] * 2, clip, NEWLINE, **video) == [Layout(13, 3, ((2, 2),), (12,))] * 2
    # tiles of pictures are no frames
    assert layouts_of(torch.zeros(2, 12, 4), {"pixel_values": torch.zeros(2, 3, 3, 8, 8)}) == [Layout(12)] * 2


def test_a_newline_that_comes_after_the_features():
    known = [Layout(12, 3, ((2, 2),)), Layout(5)]
    assert with_last_newline(known, torch.zeros(19, 4)) == [Layout(13, 3, ((2, 2),), (12,)), Layout(6, 1, (), (5,))]
    assert with_last_newline(known, torch.zeros(17, 4)) == known
    assert with_last_newline(None, torch.zeros(17, 4)) is None
    assert with_last_newline(known, None) == known


def test_sizes_in_pixels():
    given = {"image_sizes": torch.tensor([[8, 24], [10, 10]])}
    assert layouts_of([torch.zeros(12, 4), torch.zeros(12, 4)], given) == [Layout(12, 1, ((2, 6),)), Layout(12)]
    assert layouts_of(torch.zeros(2, 4, 4), {"image_sizes": [[100, 90], [8, 8]]}) == [Layout(4, 1, ((2, 2),))] * 2


def test_features_of_another_form():
    assert layouts_of(torch.zeros(5, 4), {}) is None
    assert layouts_of([torch.zeros(1, 5, 4)], {}) is None


def test_repeated_features_keep_their_layouts():
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    memory, parts = LayoutMemory(), [torch.zeros(6, 4), torch.ones(6, 4)]
    known = [Layout(6, 1, ((2, 3),)), Layout(6, 1, ((3, 2),))]
    output = BaseModelOutputWithPooling(pooler_output=parts)
    memory.note(output, known)
    output.pooler_output = [parts[0], parts[0], parts[1], parts[1], torch.zeros(6, 4)]
    assert memory.of(output, None) == [known[0]] * 2 + [known[1]] * 2 + [Layout(6)]
    other = BaseModelOutputWithPooling(pooler_output=parts)
    assert memory.of(other, None) == [Layout(6)] * 2
    stacked = BaseModelOutputWithPooling(pooler_output=torch.zeros(2, 6, 4))
    memory.note(stacked, known[:1] * 2)
    stacked.pooler_output = torch.zeros(4, 6, 4)
    assert memory.of(stacked, None) == known[:1] * 4


def test_frames_and_newlines_are_cut_out():
    visual = torch.tensor([[False, *[True] * 7, False, *[True] * 3]])
    first, second, third = find(visual, [Layout(7, 2, ((1, 3),), (2,)), Layout(3, 1, (), (1,))])
    assert (first.columns.tolist(), first.frame, first.number, first.newlines.tolist()) == ([1, 2, 4], 0, 0, [3])
    assert (second.columns.tolist(), second.frame, second.number, second.newlines.tolist()) == ([5, 6, 7], 1, 0, [])
    assert (third.columns.tolist(), third.frame, third.number, third.newlines.tolist()) == ([9, 11], 0, 1, [10])
    assert (first.views, third.views) == (((1, 3),), ())


def test_frames_keep_one_number_among_several_kinds():
    pictures = find(torch.tensor([[False] * 5 + [True] * 2 + [False]] * 2), [Layout(2)] * 2)
    videos = find(torch.tensor([[True] * 4 + [False] * 4] * 2), [Layout(4, 2)] * 2)
    got = [(one.row, one.number, one.frame, one.columns.tolist()) for one in numbered([pictures, videos])]
    one_row = [(0, 0, [0, 1]), (0, 1, [2, 3]), (1, 0, [5, 6])]
    assert got == [(row, *entry) for row in (0, 1) for entry in one_row]
