"""The report: its numbers, and that the same selection gives the same page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from datapruner import Output, ScoreTable, Source, prune, score, select
from datapruner.output.report.example_rows import MOST_EXAMPLES, MOST_PAIRS, ExampleTexts, choose_examples
from datapruner.output.report.page import render
from datapruner.output.report.statistics import statistics_of, steps_of
from datapruner.selection.input_check import check_same_input
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.output.pages import Page, check_page


def test_numbers_of_a_small_corpus(tmp_path: Path) -> None:
    rows = [{"text": "a" * n, "kind": kind} for n, kind in ((4, "x"), (8, "x"), (12, "x"), (16, "y"), (20, "y"))]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), group="kind")
    table = score(source, "length", tmp_path / "t")
    statistics = statistics_of(select(table, "middle", keep_ratio=0.6), table)
    assert [(s.name, s.before, s.after, s.estimated) for s in statistics.sizes] == [
        ("rows", 5, 3, False),
        ("characters", 60, 36, False),
        ("tokens", 15, 9, True),
    ]
    (drawn,) = statistics.histograms
    assert drawn.cuts == (8, 16)
    assert drawn.medians == (12, 12)
    assert (drawn.kept.sum(), drawn.dropped.sum()) == (3, 2)
    # the ends of the range are in the first and the last bin
    assert (drawn.dropped[0], drawn.dropped[-1]) == (1, 1)
    assert [(g.name, g.before, g.after) for g in statistics.mix] == [("x", 3, 2), ("y", 2, 1)]
    page = check_page(render(select(table, "middle", keep_ratio=0.6), source, table)).text
    for expected in ("3 of 5 rows kept", "60.0 % kept", "cut at 8 and 16", "about 6", "40.0 % of every epoch"):
        assert expected in page
    # 3 of 5 to 2 of 3 is a move of 1 of 15
    assert "6.7 % of the mix moved" in page


def test_reasons_belong_to_their_steps(table: ScoreTable) -> None:
    first = select(table, "threshold:minimum=60", "length")
    second = select(table, "middle", "random", 0.5, "source", first)
    steps = steps_of(second)
    assert [int(s.dropped.sum()) for s in steps] == [s["rows"] - s["kept"] for s in second.steps]
    assert (steps[0].dropped == (first.codes >= 0)).all()
    assert (steps[1].left == (second.codes < 0)).all()
    assert not (steps[0].dropped & steps[1].dropped).any()


def test_examples_are_the_nearest_to_the_cut(table: ScoreTable, corpus: Path) -> None:
    selection = select(table, "top", "length", 0.5)
    shown_rows = choose_examples(selection, statistics_of(selection, table), table)
    texts = ExampleTexts(Source(corpus), selection, shown_rows.rows())
    texts.read()
    (side,) = shown_rows.sides
    lengths = table.scores("length")
    ordered = np.sort(lengths)[::-1]
    kept, dropped = ordered[: selection.n_kept], ordered[selection.n_kept :]
    assert sorted((item.score for item in side.kept), reverse=True) == kept[-MOST_EXAMPLES:].tolist()
    assert sorted((item.score for item in side.dropped), reverse=True) == dropped[:MOST_EXAMPLES].tolist()
    assert all(item.reason is None for item in side.kept)
    assert all(item.reason == selection.reason(item.row) for item in side.dropped)
    assert all(item.uid == selection.uid_range(item.row, item.row + 1)[0] for item in (*side.kept, *side.dropped))
    assert texts.found is not None
    assert all(len(texts.found[item.row]) == item.score for item in (*side.kept, *side.dropped))


def test_cuts_of_groups_are_their_own(tmp_path: Path) -> None:
    # what is kept of one group is dropped of the other
    rows = [{"text": "a" * n, "g": "short"} for n in range(1, 41)]
    rows += [{"text": "a" * n, "g": "long"} for n in range(21, 61)]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), group="g")
    table = score(source, "length", tmp_path / "t")
    selection = select(table, "top", "length", 0.5, "g")
    statistics = statistics_of(selection, table)
    (side,) = choose_examples(selection, statistics, table).sides
    assert {item.score for item in side.kept} == {*range(21, 27), *range(41, 47)}
    assert {item.score for item in side.dropped} == {*range(15, 21), *range(35, 41)}
    assert statistics.histograms[0].cuts == ()


def test_every_group_shows_its_cut(tmp_path: Path) -> None:
    # the rows of one group lie near to each other, of the other far apart
    rows = [{"text": "a" * n, "g": "dense"} for n in range(1, 101)]
    rows += [{"text": "a" * (10 * n), "g": "sparse"} for n in range(1, 21)]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), group="g")
    table = score(source, "length", tmp_path / "t")
    selection = select(table, "top", "length", 0.5, "g")
    (side,) = choose_examples(selection, statistics_of(selection, table), table).sides
    for items, dense, sparse in ((side.kept, range(51, 57), range(110, 161, 10)),
                                 (side.dropped, range(45, 51), range(50, 101, 10))):  # fmt: skip
        assert {item.score for item in items if item.group == "dense"} == {*dense}
        assert {item.score for item in items if item.group == "sparse"} == {*sparse}
    assert ">sparse</span>" in render(selection, source, table)


def test_both_sides_of_both_cuts(tmp_path: Path) -> None:
    rows = [{"text": "a" * n} for n in range(1, 101)]
    table = score(Source(write_jsonl(tmp_path / "c.jsonl", rows)), "length", tmp_path / "t")
    selection = select(table, "middle", "length", 0.5)
    (side,) = choose_examples(selection, statistics_of(selection, table), table).sides
    assert {item.score for item in side.kept} == {*range(26, 32), *range(70, 76)}
    assert {item.score for item in side.dropped} == {*range(20, 26), *range(76, 82)}


def test_bins_hold_the_rows_between_their_edges(table: ScoreTable) -> None:
    selection = select(table, "coverage_centric:beta=0.1", "length", 0.5)
    by, *others = statistics_of(selection, table).histograms
    assert by.name == "length"
    # rows are dropped all over the range: there is no cut
    assert all(item.cuts == () for item in (by, *others))
    for drawn in (by, *others):
        values = table.scores(drawn.name).astype(np.float64)
        inside = np.clip(values, drawn.edges[0], drawn.edges[-1])
        assert (np.histogram(inside, drawn.edges)[0] == drawn.kept + drawn.dropped).all()
        assert drawn.tails == (values.min() < drawn.edges[0], values.max() > drawn.edges[-1])


def test_sums_of_ranks_are_those_of_the_rows_that_competed(table: ScoreTable, corpus: Path) -> None:
    first = select(table, "threshold:minimum=60", "length")
    second = select(table, "top", {"length": 0.5, "random": -1.0}, 0.5, None, first)
    statistics = statistics_of(second, table)
    total = next(item for item in statistics.histograms if "rank(" in item.name)
    assert (int(total.kept.sum()), int(total.kept.sum() + total.dropped.sum())) == (second.n_kept, first.n_kept)
    assert len(total.cuts) == 1
    sides = choose_examples(second, statistics, table).sides
    assert [side.number for side in sides] == [1, 2]
    assert all(np.isfinite(item.score) for side in sides for item in (*side.kept, *side.dropped))
    check_page(render(second, Source(corpus), table))


def test_pairs_are_the_most_alike_and_marked(tmp_path: Path) -> None:
    rows = make_rows(60)
    rows += [{**rows[i], "id": f"copy-{i}"} for i in range(8)]
    long = [" ".join(f"t{seed}w{i}" for i in range(60)) for seed in range(3)]
    rows += [{"id": f"long-{i}", "text": text, "source": "web"} for i, text in enumerate(long)]
    rows += [{"id": f"near-{i}", "text": text.replace("w30", "<b>"), "source": "web"} for i, text in enumerate(long)]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), uid="id")
    table = score(source, "near_duplicate", tmp_path / "t")
    selection = select(table, "threshold:maximum=0.5")
    (found,) = choose_examples(selection, statistics_of(selection, table), table).duplicates
    assert found.equal == 8
    assert len(found.pairs) <= MOST_PAIRS
    assert [pair.score for pair in found.pairs] == sorted((pair.score for pair in found.pairs), reverse=True)
    near = [pair for pair in found.pairs if 0.5 < pair.score < 1]
    assert {frozenset(pair.uids) for pair in near} == {frozenset((f"long-{i}", f"near-{i}")) for i in range(3)}
    assert all(sorted(pair.kept) == [False, True] for pair in near)
    page = check_page(render(selection, source, table)).text
    assert page.count("equal texts") == 4
    marked = re.findall("<mark>(.*?)</mark>", render(selection, source, table))
    assert {"t0&lt;b&gt;", "t0w30"} <= set(marked)


def test_the_same_bytes_whatever_the_chunks(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "c.jsonl", make_rows(103))
    pages = []
    for rows in (7, 103):
        source = Source(file, uid="id", group="source", chunk_rows=rows)
        table = score(source, ["length", "near_duplicate"], tmp_path / f"t{rows}")
        pages.append(render(select(table, "middle", "length", 0.5, "source"), source, table))
    assert pages[0] == pages[1]
    assert str(tmp_path) not in pages[0]


def test_a_few_rows_by_a_score_alone_warn(table: ScoreTable, corpus: Path) -> None:
    with pytest.warns(UserWarning, match="under 30%"):
        few = select(table, "top", "length", 0.29)
    page = Page(render(few, Source(corpus), table))
    assert [a for _, a in page.tags if a.get("class") == "warn"]
    assert "top keeps 29.1% of the rows by length alone" in page.text
    enough = Page(render(select(table, "top", "length", 0.3), Source(corpus), table))
    assert not [a for _, a in enough.tags if a.get("class") == "warn"]


def test_without_source_or_table_it_says_so(table: ScoreTable, corpus: Path) -> None:
    selection = select(table, "top", "length", 0.5)
    bare = check_page(render(selection)).text
    assert "Texts are left out" in bare
    assert "Sizes, groups and duplicates are left out" in bare
    assert "length below" in bare
    without_texts = check_page(render(selection, None, table)).text
    assert "Texts are left out" in without_texts
    assert "Groups before and after" in without_texts
    other = write_jsonl(corpus.parent / "other.jsonl", make_rows(9))
    with pytest.raises(ValueError, match="another input"):
        check_same_input(Source(other), selection)
    with pytest.raises(ValueError, match="another input"):
        render(selection, None, score(Source(other), "length", corpus.parent / "u"))


@pytest.mark.parametrize(("texts", "ratio"), [(["a"], 1.0), (["same"] * 5, 0.4), (["a", "bb" * 40_000], 0.5)])
def test_corpora_at_the_edge(texts: list[str], ratio: float, tmp_path: Path) -> None:
    source = Source(write_jsonl(tmp_path / "c.jsonl", [{"text": text} for text in texts]))
    table = score(source, ["length", "near_duplicate"], tmp_path / "t")
    check_page(render(select(table, "top", "length", ratio), source, table))
    check_page(render(select(table, "threshold:minimum=1e9", "length"), source, table))


def test_every_output_has_one_unless_not_wanted(corpus: Path, tmp_path: Path) -> None:
    prune(corpus, "length", "top", 0.5, tmp_path / "with")
    assert "52 of 103 rows kept" in (tmp_path / "with" / "report.html").read_text()
    prune(corpus, "length", "top", 0.5, Output(tmp_path / "without", report=False))
    assert not (tmp_path / "without" / "report.html").exists()
