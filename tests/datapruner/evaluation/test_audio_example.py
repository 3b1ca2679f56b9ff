"""The example on sounds finds what was planted, three kinds of copies and a hard group; it reads folders and arrays."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from datapruner.scoring.score_table import ScoreTable

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "audio_selection.py"
NAMES = runpy.run_path(str(EXAMPLE))
TONES = [np.int16(9000 * np.sin(2 * np.pi * hertz * np.arange(1600) / 8000)) for hertz in (200, 300, 500)]


def test_what_was_planted_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["audio_selection.py", "--out", str(tmp_path)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    # a copy is named after the sound that it was made of
    table, by_kind = ScoreTable(tmp_path / "copies"), {"exact": {"again"}, "near": {"again", "quieter"}}
    uids = table.read("rows", "uid").to_pylist()
    for kind, cut, words in (
        ("exact", 0, by_kind["exact"]),
        ("near", 0.5, by_kind["near"]),
        ("semantic", 0.97, {*by_kind["near"], "with hiss"}),
    ):
        found = {uids[row] for row in np.flatnonzero(table.scores(f"{kind}_duplicate") > cut)}
        assert found == {uid for uid in uids if re.sub(r"^\w+ \d+ ?", "", uid) in words}
        assert len(found) == 48 * len(words)
        nearest = table.read(f"{kind}_duplicate", "nearest_uid").to_pylist()
        assert all(uid.startswith(f"{nearest[uids.index(uid)]} ") for uid in found)
    groups = lines[lines.index(next(line for line in lines if line.startswith("group"))) + 1 :][:6]
    assert groups[0].startswith("kid ")
    wrong = [float(re.findall(r"([\d.]+)%", line)[0]) for line in groups]
    assert wrong[0] > 20 > 5 > wrong[1]
    # more of the hard voice beats a draw of as many sounds, for whom it speaks and for all
    for kept in ("10%", "30%"):
        rows = {line.rpartition("  ")[2]: line.split() for line in lines if line.strip().startswith(kept)}
        assert rows["no copies, hard groups"][4] == "better"
        assert float(rows["no copies, hard groups"][2]) > float(rows["random"][2]) + 0.1
    assert re.match("Apply no copies.* and keep|Keep everything: ", lines[-1])


@pytest.mark.parametrize("form", ["csv", "jsonl", "npz"])
def test_a_set_of_sounds_is_read(form: str, tmp_path: Path) -> None:
    rows = [{"file": f"{at}.wav", "label": "ab"[at % 2], "group": f"g{at}", "split": ""} for at in range(3)]
    if form == "npz":
        columns = {name: np.array([row[name] for row in rows]) for name in ("label", "group", "split")}
        offsets = np.arange(4) * 1600
        np.savez(tmp_path / "set.npz", samples=np.concatenate(TONES), offsets=offsets, rate=8000, **columns)
    else:
        for row, tone in zip(rows, TONES, strict=True):
            wavfile.write(tmp_path / row["file"], 8000, np.stack([tone, tone], 1))
        of_csv = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        (tmp_path / f"labels.{form}").write_text("\n".join(of_csv if form == "csv" else map(json.dumps, rows)))
    samples, rate, columns = NAMES["read"](tmp_path / "set.npz" if form == "npz" else tmp_path)
    assert rate == 8000
    np.testing.assert_array_equal(samples, TONES)
    assert {name: values.tolist() for name, values in columns.items()} == {
        "uid": [str(at) if form == "npz" else f"{at}.wav" for at in range(3)],
        "label": ["a", "b", "a"],
        "group": ["g0", "g1", "g2"],
        "split": [""] * 3,
    }


def test_sounds_of_two_rates_are_refused(tmp_path: Path) -> None:
    for name, rate in (("a.wav", 8000), ("b.wav", 16000)):
        wavfile.write(tmp_path / name, rate, TONES[0])
    (tmp_path / "labels.csv").write_text("file,label,group\na.wav,x,y\nb.wav,x,y\n")
    with pytest.raises(ValueError, match=r"one sampling rate, got \[8000, 16000\]"):
        NAMES["read"](tmp_path)


def test_vectors_and_fingerprints_hang_on_no_loudness() -> None:
    mel = NAMES["log_mel"](TONES[2], 8000, 32)
    edges = 700 * (np.geomspace(1 + 60 / 700, 1 + 8000 / 1400, 34) - 1)
    loudest = mel.mean(0).argmax()
    assert edges[loudest] < 500 < edges[loudest + 2]
    # as loud as it may be, it is the same sound
    vectors = NAMES["embeddings"]([*TONES, TONES[0] // 3], 8000)
    assert vectors.shape == (4, 160)
    distances = np.linalg.norm(vectors - vectors[3], axis=1)
    assert distances[0] < 0.1 * distances[1:3].min()
    take = NAMES["say"]("ai", "ben", np.random.default_rng(1))
    one, other = (NAMES["fingerprint"](sound, 8000).split() for sound in (take, 2 * take))
    assert one[:-1] == other[:-1]
    assert one[-1] != other[-1]


def test_a_group_that_alone_has_a_label_is_not_called_hard(tmp_path: Path) -> None:
    group = np.repeat(["real", "one", "other"], 20)
    draw = np.random.default_rng(0)
    label = np.where(group == "real", "bona fide", "spoof")
    vectors = (draw.normal(size=(60, 4)) + 6 * (label == "spoof")[:, None]).astype(np.float32)
    # half of a generator sounds real to a probe that knows the other one
    vectors[40:50] -= 6
    columns = {"uid": np.arange(60).astype(str), "label": label, "group": group, "embedding": vectors, "text": group}
    everything = np.ones(60, bool)
    hardest, quota = NAMES["hard_groups"](columns, everything, everything, tmp_path / "groups")
    assert hardest == "other"
    assert quota == {"one": pytest.approx(1 / 3), "real": pytest.approx(1 / 3), "other": pytest.approx(4 / 3)}
    assert not columns["across"][:20].any()
