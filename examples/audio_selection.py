"""Prune a set of sounds with labels: copies out, more of the groups that a probe gets wrong, judged against a draw.

    python examples/audio_selection.py                        # sounds that it makes itself: nothing to download
    python examples/audio_selection.py sounds/                # WAV files beside labels.csv or labels.jsonl
    python examples/audio_selection.py sounds.npz --vectors vectors.npy --similarity 0.95

Labels are a row a sound: file, label, group (speaker, generator, source of the recording), and if you like split: what
has "test" there judges the selections; without it a quarter of the sounds that have no copy do. An .npz has `samples`
(all sounds one after another), `offsets` (where each begins, and the end of the last), `rate`, `label`, `group` and
perhaps `split`. `--vectors` takes embeddings of your own, a row a sound in that order, in place of log-mel statistics.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from sklearn.linear_model import LogisticRegression

import datapruner
from datapruner import Candidate, Evaluation, Per, Rule, Source

# the vowels of a word, by their formants in Hz (Peterson and Barney 1952)
FORMANTS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240), "e": (530, 1840, 2480)}
WORDS = ("ai", "ia", "au", "ua", "ei", "ie")
# pitch in Hz, scale of the formants, share of noise: the last voice is unlike the others, and hoarse
VOICES = {"anna": (210, 1.1, 0.2), "ben": (110, 0.95, 0.2), "carl": (125, 1.0, 0.2), "dora": (190, 1.06, 0.2),
          "emil": (140, 1.03, 0.2), "kid": (300, 1.3, 0.8)}  # fmt: skip
Columns = dict[str, np.ndarray]


def read(place: Path) -> tuple[list[np.ndarray], int, Columns]:
    """Samples of each sound of an .npz or a folder, their rate, and uid, label, group and split, strings [n] each."""
    if place.suffix == ".npz":
        with np.load(place, allow_pickle=False) as file:
            columns = {name: file[name].astype(str) for name in ("label", "group", "split") if name in file}
            samples, rate = np.split(file["samples"], file["offsets"][1:-1]), int(file["rate"])
        return samples, rate, {"uid": np.arange(len(samples)).astype(str), **columns}
    if (place / "labels.csv").exists():
        rows = [*csv.DictReader((place / "labels.csv").read_text("utf-8").splitlines())]
    else:
        rows = [json.loads(line) for line in (place / "labels.jsonl").read_text("utf-8").splitlines()]
    heard = [wavfile.read(place / row["file"]) for row in rows]
    if len(rates := {rate for rate, _ in heard}) != 1:
        raise ValueError(f"{place}: want sounds of one sampling rate, got {sorted(rates)}")
    names = {"file": "uid", "label": "label", "group": "group"} | ({"split": "split"} if "split" in rows[0] else {})
    mono = [samples if samples.ndim == 1 else samples.mean(1) for _, samples in heard]
    return mono, rates.pop(), {name: np.array([str(row[field]) for row in rows]) for field, name in names.items()}


def made_up(takes: int = 16) -> tuple[list[np.ndarray], int, Columns]:
    """Six voices that say six words; of one half the takes came in four times, as happens to what is easy to get."""
    draw = np.random.default_rng(0)
    spoken = [(voice, word) for voice in VOICES for word in WORDS * takes]
    found = [(f"{voice} {at}", voice, word, say(word, voice, draw)) for at, (voice, word) in enumerate(spoken)]
    for uid, voice, word, take in [row for row in found if row[1] == "ben"][: 3 * takes]:
        hiss = np.roll(take + 0.01 * take.std() * draw.normal(size=len(take)), 37)
        for how, copy in (("again", take), ("quieter", take * 0.5), ("with hiss", hiss)):
            found.append((f"{uid} {how}", voice, word, copy.astype(np.int16)))
    uids, voices, words, samples = zip(*found, strict=True)
    return [*samples], 8000, {"uid": np.array(uids), "group": np.array(voices), "label": np.array(words)}


def say(word: str, voice: str, draw: np.random.Generator) -> np.ndarray:
    """A glide from one vowel to another in a third of a second: harmonics as loud as formants make them, int16."""
    n, (pitch, scale, noise) = int(draw.uniform(0.28, 0.36) * 8000), VOICES[voice]
    glide = 1 / (1 + np.exp(-12 * (np.arange(n) / n - draw.uniform(0.4, 0.6))))[:, None]
    formants = ((1 - glide) * FORMANTS[word[0]] + glide * FORMANTS[word[1]]) * scale * draw.normal(1, 0.08, 3)
    hertz = pitch * draw.normal(1, 0.1) * (1 + 0.1 * draw.normal() * np.linspace(-1, 1, n) + 0.01 * draw.normal(size=n))
    phase, sound = 2 * np.pi * np.cumsum(hertz) / 8000, np.zeros(n)
    for number in range(1, int(3800 / hertz.max()) + 1):
        loudness = (1 / (1 + ((number * hertz[:, None] - formants) / 90) ** 2)) @ (1, 0.6, 0.3)
        sound += loudness * np.sin(number * phase + draw.uniform(0, 2 * np.pi))
    sound += noise * sound.std() * draw.normal(size=n)
    return (8000 * draw.uniform(0.5, 1) * np.hanning(n) ** 0.3 * sound / np.abs(sound).max()).astype(np.int16)


def log_mel(samples: np.ndarray, rate: int, bands: int) -> np.ndarray:
    """Decibels of frames 32 ms long and 10 ms apart in mel bands: float64 [frames, bands]."""
    size = int(0.032 * rate)
    padded = np.pad(samples.astype(float), (0, max(0, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: int(0.01 * rate)] * np.hanning(size)
    hertz, power = np.fft.rfftfreq(size, 1 / rate)[:, None], np.abs(np.fft.rfft(frames)) ** 2
    edges = 700 * (np.geomspace(1 + 60 / 700, 1 + rate / 1400, bands + 2) - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    energy = power @ np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)).clip(0)
    return 10 * np.log10(energy.clip(1e-8 * energy.max() + 1e-12))


def embeddings(samples: list[np.ndarray], rate: int) -> np.ndarray:
    """Mean log-mel energies in four parts of each sound, and deviations, whatever its loudness: float32 [n, 160]."""
    mels = [log_mel(one, rate, 32) for one in samples]
    rows = [[*(part.mean(0) - mel.mean() for part in np.array_split(mel, 4)), mel.std(0)] for mel in mels]
    found = np.array(rows).reshape(len(rows), -1)
    return ((found - found.mean(0)) / (found.std(0) + 1e-9)).astype(np.float32)


def fingerprint(samples: np.ndarray, rate: int) -> str:
    """A sound as a text: a word a frame, the signs of how differences of bands change (Haitsma and Kalker 2002); and at
    the end a hash of the samples, so that only equal sounds have all words in common."""
    signs = np.diff(np.diff(log_mel(samples, rate, 13), axis=1), axis=0) > 0
    words = [f"{number:x}" for number in signs @ (1 << np.arange(12))]
    return " ".join([*words, hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest()])


def source(columns: Columns, rows: np.ndarray) -> Source:
    """The `rows` of a corpus, bool [n], as datapruner takes them."""
    return Source({name: values[rows] for name, values in columns.items()}, uid="uid", label="label", group="group")


def scorers(cuts: dict[str, float]) -> list[str]:
    """What finds copies, the earlier of which stay, so that all three let the same ones go."""
    near, semantic = (f"keep=first,threshold={cuts[name]}" for name in ("near_duplicate", "semantic_duplicate"))
    return ["exact_duplicate:keep=first", f"near_duplicate:ngram=2,{near}", f"semantic_duplicate:{semantic}"]


def find_copies(columns: Columns, cuts: dict[str, float], out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Which sounds are copies of an earlier one, and which have no copy at all, bool [n] each."""
    is_copy, is_alone = np.zeros(len(columns["uid"]), bool), np.ones(len(columns["uid"]), bool)
    table = datapruner.score(source(columns, is_alone), scorers(cuts), out)
    for name, cut in cuts.items():
        later = table.scores(name) > cut
        print(f"{name:19} {later.sum():4} copies, {(later & ~is_copy).sum()} of them new")
        is_copy |= later
        is_alone[later] = is_alone[table.read(name, "nearest_row").to_numpy()[later]] = False
    return is_copy, is_alone


def hard_groups(columns: Columns, is_train: np.ndarray, is_used: np.ndarray, out: Path) -> tuple[str, dict[str, float]]:
    """The hardest group, and each one's share of a budget: half by its sounds `is_used`, half by those that a probe of
    the other groups gets wrong; its logits become the field "across". One that alone has some label has none wrong."""
    label, group, vectors = (columns[name] for name in ("label", "group", "embedding"))
    columns["across"], wrong, sizes = np.zeros((len(label), len(np.unique(label))), np.float32), {}, {}
    for name in np.unique(group[is_used]).tolist():
        own, others = is_used & (group == name), is_used & (group != name)
        wrong[name], sizes[name] = 0, int(own.sum())
        if set(label[others]) == set(label):
            probe = LogisticRegression(max_iter=1000).fit(vectors[others], label[others])
            columns["across"][group == name] = probe.predict_log_proba(vectors[group == name]).clip(-30)
            wrong[name] = int((probe.predict(vectors[own]) != label[own]).sum())
    el2n = datapruner.score(source(columns, is_train), "el2n:logits=across", out).scores("el2n")
    hardest_first = sorted(wrong, key=lambda name: -wrong[name] / sizes[name])
    print(f"\n{'group':15} sounds unique  wrong  EL2N    by a probe that learned from the other groups")
    for name in hardest_first:
        own = group[is_train] == name
        print(f"{name:15} {own.sum():6} {sizes[name]:6} {wrong[name] / sizes[name]:6.1%} {el2n[own].mean():5.2f}")
    total, errors = sum(sizes.values()), max(1, sum(wrong.values()))
    return hardest_first[0], {name: sizes[name] / total + wrong[name] / errors for name in wrong}


def evaluation(train: Source, test: Source, quota: dict[str, float], cuts: dict[str, float]) -> Evaluation:
    """Three selections without copies: a draw, one that has more of hard groups, and of these rather hard sounds."""
    first = [Rule(f"one_of_each:copies={name},similarity={cuts[name]}") for name in [*cuts][1:]]
    rules = {
        "no copies": Rule("random"),
        "no copies, hard groups": Rule("random", per=Per("group", quota)),
        "no copies, hard sounds of hard groups": Rule("calibrated:alpha=0.3", "el2n", per=Per("group", quota)),
    }
    candidates = tuple(Candidate(name, (*first, rule)) for name, rule in rules.items())
    made, probe = (*scorers(cuts)[1:], "el2n:logits=across"), "linear_probe:batch_size=64,device=cpu"
    return Evaluation(train, test, probe, candidates, made, (0.1, 0.3), baselines=(), steps=150, checks=1)


def main() -> None:
    """Read, find copies, hold out, find hard groups, select and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sounds", type=Path, nargs="?", help="a folder or an .npz; without it sounds are made up")
    parser.add_argument("--vectors", type=Path, help=".npy of embeddings [n, d]")
    parser.add_argument("--similarity", type=float, default=0.97, help="cosine above which sounds are copies")
    parser.add_argument("--out", type=Path, help="folder for score tables and trained/report.html")
    options = parser.parse_args()
    samples, rate, columns = made_up() if options.sounds is None else read(options.sounds)
    columns["text"] = np.array([fingerprint(one, rate) for one in samples])
    columns["embedding"] = np.load(options.vectors) if options.vectors else embeddings(samples, rate)
    # what is more alike than that is a copy
    cuts = {"exact_duplicate": 0.0, "near_duplicate": 0.5, "semantic_duplicate": options.similarity}
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder)
        is_copy, is_alone = find_copies(columns, cuts, out / "copies")
        is_test = columns.pop("split", np.full(len(samples), "")) == "test"
        if not is_test.any():
            is_test = is_alone & (np.random.default_rng(0).random(len(samples)) < 0.25)
        hardest, quota = hard_groups(columns, ~is_test, ~is_test & ~is_copy, out / "groups")
        train, *tests = (source(columns, rows) for rows in (~is_test, is_test & (columns["group"] == hardest), is_test))
        hard, whole = (datapruner.evaluate(evaluation(train, test, quota, cuts), out / "trained") for test in tests)
    print(f"\n kept accuracy  of {hardest:12} all against random")
    for row, own in zip(whole.rows, hard.rows, strict=True):
        found = next((f"{one.difference.mean:+.3f} {one.word}" for one in row.against if one.baseline == "random"), "")
        print(f"{row.share:5.0%} {row.mean:8.3f}  {own.mean:15.3f} {found:18}  {row.way}")
    print("\n" + "\n".join([*whole.notes, whole.verdict]))


if __name__ == "__main__":
    main()
