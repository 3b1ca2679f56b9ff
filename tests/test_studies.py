"""The studies' own data: planted damage, wrong labels; and what they draw."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import plots
from benchmarks.studies.damaged_corpus import DAMAGED, KINDS, build
from benchmarks.studies.fashion_mnist import wrong_labels
from benchmarks.studies.grand_agreement import FULL, Sizes, agreements, scores_of_run
from benchmarks.studies.packaged_texts import CHARACTERS, brown, cut, mail
from benchmarks.studies.study import StudyRow
from datapruner.evaluation.proxies.cnn import Cnn
from datapruner.evaluation.proxy import Rows


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Two sources of 300 texts of 40 words each, of which at most 100 are wanted, and 10 held out."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for source in ("brown", "mail"):
        texts = [" ".join(f"{source}{n} word{(n * k) % 97} is here." for k in range(1, 11)) for n in range(300)]
        lines = [json.dumps({"text": text}) for text in [*texts, texts[0], "too short"]]
        (folder / f"{source}.jsonl").write_text("\n".join(lines), "utf-8")
    made = build(folder, tmp_path / "out", 200, 20)
    return read(made[0]), read(made[1])


def test_damage_is_planted_where_it_is_said(corpus: tuple[list[dict[str, str]], list[dict[str, str]]]) -> None:
    train, test = corpus
    whole = {row["id"]: row for row in train if not row["damage"]}
    bad = [row for row in train if row["damage"]]
    assert Counter(row["source"] for row in whole.values()) == {"brown": 100, "mail": 100}
    assert len(bad) == 200 / DAMAGED
    assert set(Counter(row["damage"] for row in bad)) == {*KINDS}
    assert len({row["id"] for row in train}) == len(train)
    held_out = {row["text"] for row in test}
    assert 0 < len(held_out) <= 20
    # held-out texts stand in no row but those that are said to hold one
    for row in train:
        assert any(text in row["text"] for text in held_out) is (row["damage"] == "contamination")
    for row in bad:
        own, text = whole[row["id"].removesuffix(f"-{row['damage']}")]["text"], row["text"]
        same = Counter(own.split()) == Counter(text.split())
        assert (text == own) is (row["damage"] == "copy")
        assert same is (row["damage"] in ("copy", "shuffled"))
        if row["damage"] == "near copy":
            changed = sum(a != b for a, b in zip(own.split(" "), text.split(" "), strict=True))
            assert 0 < changed <= 4


def test_the_same_texts_give_the_same_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.jsonl").write_text("\n".join(json.dumps({"text": f"{n} " * 30}) for n in range(60)), "utf-8")
    one, two = (build(folder, tmp_path / name, 40, 5)[0].read_bytes() for name in ("one", "two"))
    assert one == two
    with pytest.raises(ValueError, match="JSON lines"):
        build(tmp_path / "one" / "..", tmp_path / "three", 40, 5)


def test_long_texts_are_cut_behind_lines_and_spaces_and_nothing_is_lost() -> None:
    words = [f"word{n}" for n in range(900)]
    lines = [" ".join(words[start : start + 30]) for start in range(0, 900, 30)]
    for text in (" ".join(words), "\n".join(lines)):
        pieces = list(cut([text]))
        assert len(pieces) == 4
        assert max(map(len, pieces)) <= CHARACTERS
        assert " ".join(pieces).split() == words
    assert {piece.split("\n")[-1] for piece in cut(["\n".join(lines)])} <= {*lines}
    # one word of 5,000 letters has nowhere to be cut, and is not a text
    assert list(cut(["x" * 5000, "too short"])) == []


def test_archives_give_words_without_tags_and_bodies_by_name(tmp_path: Path) -> None:
    def packed(name: str, files: dict[str, str]) -> Path:
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            for path, text in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        return tmp_path / name

    tagged = packed(
        "brown.tgz", {"package/cb01": "A/at b/nn", "package/ca01": "The/at 1/2/cd ,/,\n\n./.", "LICENSE": "a/b"}
    )
    assert list(brown(tagged)) == ["The 1/2 ,\n.", "A b"]
    letter = json.dumps({"text": "From: me\nTo: you\n\nHello\n\nthere"})
    assert list(mail(packed("mail.tgz", {"data/00001.ab.json": letter, "package.json": "{}"}))) == ["Hello\n\nthere"]


def test_as_many_labels_are_wrong_as_asked() -> None:
    labels = np.arange(1000) % 10
    changed = wrong_labels(labels, 0.2, 10)
    assert (changed != labels).sum() == 200
    assert set(changed.tolist()) == set(range(10))
    # into every other class
    assert len({*zip(labels[changed != labels].tolist(), changed[changed != labels].tolist(), strict=True)}) > 70
    assert np.array_equal(wrong_labels(labels, 0.0, 10), labels)


def study_row(way: str, ratio: float | None, quality: float, against: float | None = None) -> StudyRow:
    ends = (None, None, None) if against is None else (against, against - 0.1, against + 0.1)
    return StudyRow("some", way, ratio, ratio or 1, quality, quality - 0.1, quality + 0.1, *ends, "", None, None, None,
                    None, None, None, "", 0.0, 1.0)  # fmt: skip


def test_a_picture_is_drawn_of_differences_from_the_draw(tmp_path: Path) -> None:
    # bits: less is better, which the difference of `own` says
    rows = [
        study_row("all", None, 2.0), study_row("random", 0.1, 2.5), study_row("random", 0.5, 2.2),
        study_row("own", 0.1, 2.3, 0.2), study_row("rs2", 0.5, 2.1), study_row("decides itself", None, 1.9, 0.3),
    ]  # fmt: skip
    drawn = {way: plots.differences(rows, way) for way in ("all", "own", "rs2", "decides itself")}
    assert np.allclose(drawn["all"], [(0.1, 0.5, 0.5, 0.5), (0.5, 0.2, 0.2, 0.2)])
    assert np.allclose(drawn["own"], [(0.1, 0.2, 0.1, 0.3)])
    assert np.allclose(drawn["rs2"], [(0.5, 0.1, 0.1, 0.1)])
    assert np.allclose(drawn["decides itself"], [(1, 0.3, 0.2, 0.4)])
    assert plots.draw(rows, tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")


def test_scores_of_one_network_agree_where_they_have_the_same_rows() -> None:
    draw, n = np.random.default_rng(0), 24
    squares = draw.normal(size=(n, 3 * 8 * 8)).astype(np.float32)
    rows = Rows([*map(str, range(n))], labels=draw.integers(0, 2, n), classes=[0, 1], vectors={"pixels": squares})
    task = Cnn(vectors="pixels", width=4, batch_size=8, device="cpu").task(rows, rows)
    sizes = Sizes(n, 10, 1, 6)
    scores = scores_of_run(task, task.inputs, sizes, 0)
    assert [len(scores[name]) for name in ("EL2N", "GraNd, last layer", FULL)] == [n, n, 10]
    # the last layer's gradient is a part of the whole
    assert (scores[FULL] > scores["GraNd, last layer"][:10]).all()
    found = {row.scores: row for row in agreements({**scores, FULL: -scores["EL2N"][:10]}, sizes)}
    assert found[f"EL2N and {FULL}"].spearman == pytest.approx(-1)
    assert [found[name].rows for name in (f"EL2N and {FULL}", "EL2N and GraNd, last layer")] == [10, n]
